#!/bin/bash
# shellcheck disable=SC2154 # the variables in use here are dracut's
# What an emulated processor is spared.

check() {
    return 255
}

depends() {
    echo systemd
}

install() {
    inst_script "$moddir/generator" "$systemdutildir/system-generators/mini-emulated-generator"
}
