# Defines free_ports for scripts that source this file. ports.py says how ports are chosen.
# shellcheck shell=bash
_ports=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/ports.py
free_ports() { # how many
    python3 "$_ports" "$1"
}
