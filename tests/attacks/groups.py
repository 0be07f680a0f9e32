"""Floods the service with atomicity groups, and measures the requests of other clients.

    groups.py PORT SECONDS LIMIT
"""

import http.client
import json
import sys
import threading
import time

PORT, SECONDS, LIMIT = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
FLOODS, OTHERS = 10, 4
COLLECTION = "/deviceManagement/deviceConfigurations"
JSON = {"content-type": "application/json"}
BODY = {"@odata.type": "#microsoft.graph.iosUpdateConfiguration", "displayName": "a"}


def call(connection, method, path, body=None):
    connection.request(method, path, body and json.dumps(body), JSON)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read() or b"{}")


def group(writes):
    search = f"{COLLECTION}?$filter=contains(description,'nothing')%20or%20endswith(displayName,'x')&$count=true"
    steps = [{"id": str(n), "method": "GET", "url": search, "atomicityGroup": "g"} for n in range(20 - writes)]
    steps += [{"id": f"w{n}", "method": "POST", "url": COLLECTION, "atomicityGroup": "g", "headers": JSON, "body": BODY}
              for n in range(writes)]
    return {"requests": steps}


def flood(body, end, answered):
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
        call(connection, "POST", "/v1.0/$batch", body)
        answered.append(1)


def other(end, results):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
    path = None
    while time.monotonic() < end:
        started = time.monotonic()
        if path is None:
            status, created = call(connection, "POST", "/v1.0" + COLLECTION, BODY)
            path = f"/v1.0{COLLECTION}/{created['id']}" if status == 201 else None
        else:
            status, _ = call(connection, "PATCH", path, {"description": f"{started}"})
            path = None
        results.append((status, time.monotonic() - started))
        time.sleep(0.02)


def main():
    is_right = True
    for name, writes in [("20 searches", 0), ("19 searches and a create", 1)]:
        end, answered, results = time.monotonic() + SECONDS, [], []
        threads = [threading.Thread(target=flood, args=(group(writes), end, answered)) for _ in range(FLOODS)]
        threads += [threading.Thread(target=other, args=(end, results)) for _ in range(OTHERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        good = sum(status in (200, 201) and took < LIMIT for status, took in results)
        slowest, share = max(took for _, took in results), 100 * good / len(results)
        print(f"groups: {FLOODS} clients with groups of {name} ({len(answered)} answered): {share:.2f} % of {len(results)}"
              f" creates and changes by others succeeded within {LIMIT:g} s; the slowest took {slowest:.2f} s")
        is_right = is_right and share >= 99
    return 0 if is_right else "groups: FAILED: less than 99 %"


sys.exit(main())
