#!/bin/bash
# shellcheck disable=SC2154 # the variables in use here are dracut's
# What every boot gives Ignition, besides the user's config: the user "core", and setfiles to label with.

check() {
    return 255
}

depends() {
    echo systemd ignition
}

install() {
    inst_simple /usr/lib/ignition/base.d/00-core.ign
    inst_multiple setfiles useradd usermod groupadd
}
