# Read by the first process: hands the machine to systemd, with the units and networks of Debian's packages alone, and
# a unit that serves the host.
for folder in system network; do
    mount -t tmpfs tmpfs /new/etc/systemd/$folder
done
units=/new/run/systemd/system
mkdir -p $units/multi-user.target.wants
cat > $units/eniway-vm.service << 'end of file'
[Unit]
Description=Commands of the host

[Service]
Environment=HOME=/root
ExecStart=/bin/sh /.eniway-vm
end of file
ln -s ../eniway-vm.service $units/multi-user.target.wants/
# It is none, wherever the host's files come from.
rm -f /new/.dockerenv
# What the host has in /tmp is to stay.
mkdir -p /new/etc/tmpfiles.d
: > /new/etc/tmpfiles.d/tmp.conf
# A first boot would switch all services on.
[ -s /new/etc/machine-id ] || echo 0123456789abcdef0123456789abcdef > /new/etc/machine-id
exec switch_root /new /lib/systemd/systemd
