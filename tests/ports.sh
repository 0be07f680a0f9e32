# Free ports, for scripts to source: ports.py says which.
# shellcheck shell=bash
_ports=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/ports.py
free_ports() { # how many
    python3 "$_ports" "$1"
}
