#!/bin/sh
# systemd.sh DIR [SHARED]: a real systemd, as pid 1 of namespaces of its own. DIR/opt, DIR/local and
# DIR/etc are its /opt, /usr/local and what is special in its /etc; SHARED is its
# /opt/shared. Nothing else of this machine is changed: all that it could write to is its own, or
# read only.
# Prints a pid to enter it by. It ends when standard input does.
set -eu
dir=$1
hierarchy=/sys/fs/cgroup/unified
[ -d "$hierarchy" ] || hierarchy=/sys/fs/cgroup
group=$hierarchy/hatchery-test.$$
mkdir "$group"
# All that it starts is in the group, and a cgroup namespace makes that its root. If this shell is killed, so is all of it.
# shellcheck disable=SC2016 # what is in single quotes is another shell's
(echo 0 >"$group/cgroup.procs" && exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --net --uts --ipc --cgroup sh -c '
set -eu
dir=$1
mount --make-rprivate /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
ip link set lo up
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup

mkdir "$dir/dev" "$dir/over"
mount -t tmpfs -o mode=755 tmpfs "$dir/dev"
for device in null zero full random urandom tty; do
    : >"$dir/dev/$device"
    mount --bind "/dev/$device" "$dir/dev/$device"
done
: >"$dir/dev/console"
mkdir "$dir/dev/shm" "$dir/dev/pts"
mount -t tmpfs tmpfs "$dir/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$dir/dev/pts"
ln -s pts/ptmx "$dir/dev/ptmx"
ln -s /proc/self/fd "$dir/dev/fd"
mount --rbind "$dir/dev" /dev

mount -t tmpfs tmpfs "$dir/over"
mkdir "$dir/over/upper" "$dir/over/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$dir/over/upper,workdir=$dir/over/work" /etc
rm -rf /etc/systemd/system
cp -r "$dir/etc/." /etc
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
echo "app:x:990:990::/nonexistent:/usr/sbin/nologin" >>/etc/passwd
echo "app:x:990:" >>/etc/group

mount --bind "$dir/opt" /opt
if [ -n "$2" ]; then
    mkdir /opt/shared
    mount --bind "$2" /opt/shared
fi
mount --bind "$dir/local" /usr/local
mount -t tmpfs -o mode=755 tmpfs /run
for folder in /var/log /var/tmp /tmp; do mount -t tmpfs -o mode=1777 tmpfs $folder; done
exec env -i container=test PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH=/etc/systemd/system \
    /lib/systemd/systemd --system --show-status=0 --log-target=journal
' sh "$dir" "${2:-}") </dev/null >"$dir/said" 2>&1 &
holder=$!
until first=$(cat "/proc/$holder/task/$holder/children" 2>/dev/null) && [ -n "$first" ]; do
    kill -0 "$holder" 2>/dev/null || break
done
echo "${first:-none}"
cat >/dev/null
kill -KILL "$holder" 2>/dev/null || true
wait || true
# The group is busy until the last of them was reaped.
for _ in $(seq 1000); do
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    [ -d "$group" ] || break
done
