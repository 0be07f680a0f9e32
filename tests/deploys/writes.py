"""Writes through the service, and checks them after a restore.

    writes.py make URL FILE      creates and changes configurations, and writes the answers to FILE
    writes.py check URL FILE     checks that the store has exactly the configurations of FILE:
                                 bodies, ETags and secrets
    writes.py lost URL FILE      checks that no ETag of FILE is the ETag of a different state now

Links contain the host of the request, so use the same URL each time.
"""

import json
import sys
import urllib.request
import uuid
from pathlib import Path

what, url, file = sys.argv[1], sys.argv[2], Path(sys.argv[3])
ROOT = f"{url}/beta/deviceManagement/deviceConfigurations"


def ask(method, address, body=None):
    data = None if body is None else json.dumps(body).encode()
    # Ask for minimal control information, so that the rows of a list have their ETags.
    headers = {"Content-Type": "application/json", "Accept": "application/json;odata.metadata=minimal"}
    request = urllib.request.Request(address, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.headers.get("ETag"), answer.read().decode()


def assignments(*groups):
    kind = "#microsoft.graph.groupAssignmentTarget"
    return {"assignments": [{"target": {"@odata.type": kind, "groupId": name}} for name in groups]}


def seen(id):
    """Returns every answer about a configuration, with its ETag: address to answer."""
    one = f"{ROOT}/{id}"
    secret = json.loads(ask("GET", one)[1])["omaSettings"][0]["secretReferenceValueId"]
    addresses = (one, f"{one}/assignments", f"{one}/deviceStatuses", f"{one}/getOmaSettingPlainTextValue(secretReferenceValueId='{secret}')")
    return {address: ask("GET", address) for address in addresses}


known = json.loads(file.read_text()) if file.exists() else {}
if what == "make":
    for number in range(25):
        body = {"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": f"made {number}", "omaSettings": [
            {"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": "./a",
             "value": str(uuid.uuid4()), "isEncrypted": True}]}
        id = json.loads(ask("POST", ROOT, body)[1])["id"]
        ask("POST", f"{ROOT}/{id}/assign", assignments(*(str(uuid.uuid4()) for _ in range(4))))
        ask("POST", f"{ROOT}/{id}/deviceStatuses", {"deviceDisplayName": "d", "status": "compliant"})
        known[id] = None
    # Change older configurations too, so that an older state differs from a newer one.
    for id in list(known)[:10]:
        ask("PATCH", f"{ROOT}/{id}", {"description": str(uuid.uuid4())})
        ask("POST", f"{ROOT}/{id}/assign", assignments(str(uuid.uuid4())))
    known = {id: seen(id) for id in known}
    file.write_text(json.dumps(known))
elif what == "lost":
    ids = {one["id"]: one["@odata.etag"] for one in json.loads(ask("GET", ROOT)[1])["value"]}
    changed = [id for id in known if id in ids and known[id][f"{ROOT}/{id}"] != list(ask("GET", f"{ROOT}/{id}"))]
    assert changed, "no configuration was changed before and after the restore"
    for id in changed:
        for address, (tag, _) in known[id].items():
            assert tag is None or tag != ask("GET", address)[0], f"{address}: {tag} names two states"
else:
    count = int(ask("GET", f"{ROOT}/$count")[1].lstrip("\ufeff"))
    assert count == len(known), f"{count} configurations, {len(known)} were acknowledged"
    for id, expected in known.items():
        for address, answer in expected.items():
            now = list(ask("GET", address))
            assert now == answer, f"{address}: was {answer}, and is {now}"
    with_tags = sum(answer[0] is not None for one in known.values() for answer in one.values())
    assert with_tags >= 2 * len(known), with_tags
    print(f"{len(known)} configurations with {with_tags} ETags as acknowledged")
