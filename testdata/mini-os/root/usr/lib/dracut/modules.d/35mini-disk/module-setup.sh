#!/bin/bash
# shellcheck disable=SC2154 # the variables in use here are dracut's
# The installed half of the initramfs: the root and boot file systems are found by their labels, and on
# the first boot Ignition gets the config that the installer left in /boot.

check() {
    return 255
}

depends() {
    echo systemd ostree mini-ignition
}

installkernel() {
    hostonly='' instmods xfs ext4
}

install() {
    inst_multiple basename blkid cp grep ln mkdir mount readlink umount
    inst_script "$moddir/generator" "$systemdutildir/system-generators/mini-disk-generator"
    inst_script "$moddir/boot-config" /usr/libexec/mini-boot-config
    inst_simple "$moddir/mini-boot-config.service" "$systemdsystemunitdir/mini-boot-config.service"
    inst_simple "$moddir/mini-var.service" "$systemdsystemunitdir/mini-var.service"
}
