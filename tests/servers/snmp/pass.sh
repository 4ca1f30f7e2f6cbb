#!/bin/sh
# snmpd's pass_persist protocol: PING gets PONG; `get` and an OID get that OID, type and value on a line each.
# A file named as the OID holds type and value.
while read -r command; do
    case "$command" in
    PING) echo PONG ;;
    *)
        read -r oid
        if [ "$command" = get ] && [ -f "@DIR@/objects/$oid" ]; then
            echo "$oid"
            cat "@DIR@/objects/$oid"
        else
            echo NONE
        fi
        ;;
    esac
done
