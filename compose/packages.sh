# packages.sh: installs what is missing of the groups in packages.txt. To be sourced.
#
#   packages_install DIRECTORY-OF-THIS-FILE GROUP...
#
# Sets PACKAGES_HERE and PACKAGES_INSTALLED to the numbers found and added. Nothing is
# downloaded when nothing is missing. Debian starts servers when it installs them: that
# is held off, and servers that came with us are not enabled; those that were
# there before are left as they are. Without apt-get it only says what it would install.

packages_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

packages_is_here() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# While this file exists and says 101, invoke-rc.d starts nothing.
PACKAGES_POLICY=/usr/sbin/policy-rc.d
packages_hold_services() {
    packages_held=
    [ -e "$PACKAGES_POLICY" ] && return 0
    packages_held=yes
    printf '#!/bin/sh\n# Made by a Switchyard script while it installs; it removes this again.\nexit 101\n' |
        packages_root tee "$PACKAGES_POLICY" >/dev/null
    packages_root chmod 755 "$PACKAGES_POLICY"
}

packages_let_services() {
    [ "$packages_held" = yes ] && packages_root rm -f "$PACKAGES_POLICY"
    packages_held=
}

packages_install() {
    packages_list=$1/packages.txt
    shift
    packages_missing=
    PACKAGES_HERE=0
    PACKAGES_INSTALLED=0
    for packages_group in "$@"; do
        for packages_name in $(sed -n "s/^$packages_group //p" "$packages_list"); do
            case "$packages_missing " in *" $packages_name "*) continue ;; esac
            if command -v dpkg-query >/dev/null 2>&1 && packages_is_here "$packages_name"; then
                PACKAGES_HERE=$((PACKAGES_HERE + 1))
            else
                packages_missing="$packages_missing $packages_name"
                PACKAGES_INSTALLED=$((PACKAGES_INSTALLED + 1))
            fi
        done
    done
    [ -z "$packages_missing" ] && return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "no apt-get here; assuming that you have the likes of:$packages_missing" >&2
        PACKAGES_INSTALLED=0
        return 0
    fi
    # In a subshell, for traps of its own: whatever happens, services are let go again.
    (
        trap packages_let_services EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
        packages_hold_services
        packages_root apt-get -qq update >&2 || exit 1
        # shellcheck disable=SC2086
        packages_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
            -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install $packages_missing >/dev/null
    ) || {
        echo "apt-get could not install:$packages_missing" >&2
        return 1
    }
    for packages_name in nats-server redis-server; do
        case " $packages_missing " in
        *" $packages_name "*)
            if command -v systemctl >/dev/null 2>&1; then
                packages_root systemctl disable "$packages_name" >/dev/null 2>&1
            fi
            ;;
        esac
    done
    return 0
}
