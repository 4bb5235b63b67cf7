# Runs what the host asks for until the machine is switched off, several commands at a time.
mkdir -p /run/machine
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none machine /run/machine
# What must outlive a reboot.
mkdir -p /var/lib/eniway
mount --bind /run/machine/kept /var/lib/eniway
stty raw -echo < /dev/ttyS1
exec 3<> /dev/ttyS1
echo ready >&3
while read -r number <&3; do
    (
        sh "/run/machine/$number" > "/run/machine/$number.out" 2>&1 < /dev/null 3>&-
        echo "$number $?" >&3
    ) &
done
