# Timeouts of the service that even a slow machine does not reach. Scripts source this file
# unless they test the timeouts. With the defaults, a busy machine answers some requests
# with 503.
# shellcheck shell=bash
export DEVICEGRAPH__DATABASE__ANSWER_TIMEOUT_MS=60000 DEVICEGRAPH__DATABASE__ACQUIRE_TIMEOUT_MS=60000
export DEVICEGRAPH__DATABASE__LOCK_TIMEOUT_MS=60000 DEVICEGRAPH__DATABASE__STATEMENT_TIMEOUT_MS=60000
