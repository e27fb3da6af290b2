#!/usr/bin/env bash
# Puts a release into service, without a restart, and goes back if it does not come up.
#
#   deploy.sh RELEASE     the folder APP/releases/RELEASE, with bin/app in it
#
# The server was started as APP/current/bin/app; APP/current is a link to a release. The
# link is turned, the server is told to upgrade itself, and the link is turned back when
# that fails, or is taken back in the probation: so what runs, and what a restart would run,
# stay the same program.
#
# Exit codes: 0 the release serves; 1 the one before serves on, or serves again, and the
# link leads to it; 2 nothing was tried, since there is something wrong with the order.
#
#   APP=/opt/app                              where releases are
#   HATCHERY_CONTROL=/run/app/control.sock    the server's control socket
set -euo pipefail

app=${APP:-/opt/app}
export HATCHERY_CONTROL=${HATCHERY_CONTROL:-/run/app/control.sock}

refuse() { printf 'deploy: %s\n' "$*" >&2; exit 2; }

# One step for everybody who looks: a rename over the old link, which is never missing.
link_to() {
    ln -sfn "$1" "$app/current.next"
    mv -T "$app/current.next" "$app/current"
}

[ $# = 1 ] || refuse "usage: deploy.sh RELEASE"
case $1 in
    '' | . | .. | */*) refuse "\`$1\` is no name of a release: expected a folder in $app/releases" ;;
esac
release=releases/$1
[ -x "$app/$release/bin/app" ] || refuse "there is no program $app/$release/bin/app"
command -v hatchery >/dev/null || refuse "the command \`hatchery\` is not in PATH"

# Two deploys at once would turn the link under each other. Held until this script ends.
exec 9>"$app/deploy.lock"
flock --nonblock 9 || refuse "another deploy is under way"

before=$(readlink "$app/current") || refuse "$app/current is no link to a release"
[ -x "$app/$before/bin/app" ] || refuse "$app/current leads to $before, which has no program: there would be no way back"
hatchery status >/dev/null || refuse "the server does not answer on $HATCHERY_CONTROL"

# Nothing interrupts what follows, nor the command: the server would go on, and the link
# lead elsewhere. It has an end, by the server's boot-timeout and upgrade-probation.
trap '' HUP INT TERM
link_to "$release"
if ! hatchery upgrade --wait=proven; then
    link_to "$before"
    printf 'deploy: the upgrade to %s has failed; %s is current again\n' "$1" "$before" >&2
    exit 1
fi
printf 'deploy: %s serves; before it was %s\n' "$1" "$before"
