# Limits of the service that no machine exceeds, for scripts to source whose subject is
# not how soon a request is given up. With the defaults, a busy machine gets some 503s.
# shellcheck shell=bash
export DEVICEGRAPH__DATABASE__ANSWER_TIMEOUT_MS=60000 DEVICEGRAPH__DATABASE__ACQUIRE_TIMEOUT_MS=60000
export DEVICEGRAPH__DATABASE__LOCK_TIMEOUT_MS=60000 DEVICEGRAPH__DATABASE__STATEMENT_TIMEOUT_MS=60000
