#!/bin/busybox sh
# The first process of the machine: puts an overlay in memory over the host's files, and runs /run there.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
    insmod "$module" || echo "insmod $module failed"
done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host
mount -t tmpfs over /over
mkdir /over/upper /over/work
mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work overlay /new
cp /run /new/.eniway-vm
for folder in proc sys dev; do
    mount --move /$folder /new/$folder
done
mount -t tmpfs tmpfs /new/run
mount -t bpf bpf /new/sys/fs/bpf
ip link set lo up
if [ -e /systemd ]; then
    . /systemd
fi
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
chroot /new /bin/sh /.eniway-vm
echo o > /new/proc/sysrq-trigger
sleep 60
