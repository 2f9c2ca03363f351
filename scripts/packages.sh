#!/bin/sh
# Installs the Debian packages that a target needs, and of those only what is missing.
#   scripts/packages.sh demo     what `penstock demo` runs
#   scripts/packages.sh test     and what the live tests run
#   scripts/packages.sh bench    and what `python -m bench` runs
set -eu

demo="iproute2 curl openssl unbound"
test="$demo ethtool nginx apache2-bin nodejs chromium caddy bind9-dnsutils knot-dnsutils freeradius-utils fonts-dejavu-core"
bench="$demo ethtool nginx apache2-utils wrk dnsdist dnsperf"

case "${1:-test}" in
    demo) wanted=$demo ;;
    test) wanted=$test ;;
    bench) wanted=$bench ;;
    *) echo "usage: scripts/packages.sh demo|test|bench" >&2; exit 2 ;;
esac

missing=""
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "scripts/packages.sh: needs root for: apt-get install$missing" >&2
    exit 1
fi

# The servers run by the tests' own configuration and in their own namespaces: no service of the system is started.
guard=/usr/sbin/policy-rc.d
if [ ! -e "$guard" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$guard"
    chmod 755 "$guard"
    trap 'rm -f "$guard"' EXIT INT TERM
fi

echo "Installing:$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# shellcheck disable=SC2086  # a list of packages
if ! { apt-get -q update && apt-get -q -y install --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    echo "scripts/packages.sh: apt-get could not install:$missing" >&2
    exit 1
fi
rm -f "$log"
