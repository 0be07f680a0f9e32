"""Two releases of the service on one database: what one does the other sees and goes on with.

    both.py URL [URL]

Every pair of them, in both directions, on both versions. With one URL, only that it works.
Prints figures; ends with a traceback where an answer is not as it should be.
"""

import json
import sys
import urllib.error
import urllib.request
import uuid

asked = 0


def ask(expected, method, url, body=None, headers=()):
    global asked
    asked += 1
    request = urllib.request.Request(url, method=method, headers={"Content-Type": "application/json", **dict(headers)})
    if body is not None:
        request.data = json.dumps(body).encode()
    try:
        answer = urllib.request.urlopen(request, timeout=120)
    except urllib.error.HTTPError as refused:
        answer = refused
    content = answer.read()
    assert answer.status in (expected if isinstance(expected, tuple) else (expected,)), (method, url, answer.status, content)
    return json.loads(content) if content else None


def group(name):
    return {"target": {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": name}}


def plain(value):
    """Without annotations: they name the process that was asked, and a release may add some."""
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items() if "@odata." not in name or name == "@odata.type"}
    return [plain(item) for item in value] if isinstance(value, list) else value


def same(one, other, path):
    """What both read, which must be the same."""
    first, second = plain(ask(200, "GET", one + path)), plain(ask(200, "GET", other + path))
    assert first == second, (path, first, second)
    return first


def session(version, creator, other):
    root = f"/{version}/deviceManagement/deviceConfigurations"
    name = str(uuid.uuid4())
    body = {"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": name, "omaSettings": [
        {"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": "./a", "value": "v"}]}
    made = ask(201, "POST", creator + root, body)
    path = f"{root}/{made['id']}"
    assert same(creator, other, path)["omaSettings"][0]["value"] == "v"

    # Changed by the other, and back again: the version counts both. On /beta an
    # older release answers with the entity, and a newer one with 204.
    changed = (200, 204) if version == "beta" else (200,)
    ask(changed, "PATCH", other + path, {"description": "by the other"})
    ask(changed, "PATCH", creator + path, {"displayName": name + " changed"})
    read = same(creator, other, path)
    assert (read["description"], read["displayName"], read["version"]) == ("by the other", name + " changed", 3), read

    # Assigned by either; what one has the other refuses to take again.
    first = ask(201, "POST", other + path + "/assignments", group("first"))["id"]
    second = ask(201, "POST", creator + path + "/assignments", group("second"))["id"]
    ask(409, "POST", creator + path + "/assignments", group("first"))
    ask(409, "POST", other + path + "/assignments", group("second"))
    listed = same(creator, other, path + "/assignments")["value"]
    assert {row["id"] for row in listed} == {first, second}, listed
    ask(200, "PATCH", creator + f"{path}/assignments/{first}", group("first changed"))
    assert same(creator, other, f"{path}/assignments/{first}")["target"]["groupId"] == "first changed"
    ask(204, "DELETE", other + f"{path}/assignments/{second}")
    ask(404, "GET", creator + f"{path}/assignments/{second}")

    # The whole set, put in its place by each over that of the other.
    for by, then in ((other, creator), (creator, other)):
        wanted = {str(uuid.uuid4()) for _ in range(3)}
        ask(200, "POST", by + path + "/assign", {"assignments": [group(name) for name in wanted]})
        listed = ask(200, "GET", then + path + "/assignments")["value"]
        assert {row["target"]["groupId"] for row in listed} == wanted, listed

    # A status, found by a filter, and a collection with what belongs to it.
    status = ask(201, "POST", creator + path + "/deviceStatuses", {"deviceDisplayName": "d", "status": "compliant"})["id"]
    assert same(creator, other, f"{path}/deviceStatuses/{status}")["status"] == "compliant"
    found = same(creator, other, f"{root}?$filter=displayName%20eq%20'{name}%20changed'&$expand=assignments")["value"]
    assert [row["id"] for row in found] == [made["id"]] and len(found[0]["assignments"]) == 3, found
    both = {"requests": [
        {"id": "1", "atomicityGroup": "g", "method": "PATCH", "url": path.removeprefix(f"/{version}"),
         "headers": {"Content-Type": "application/json"}, "body": {"description": "in a batch"}},
        {"id": "2", "atomicityGroup": "g", "method": "DELETE",
         "url": f"{path.removeprefix(f'/{version}')}/assignments/{listed[0]['id']}"}]}
    answers = ask(200, "POST", f"{other}/{version}/$batch", both)["responses"]
    statuses = {answer["id"]: answer["status"] for answer in answers}
    assert statuses["1"] in changed and statuses["2"] == 204, answers
    assert same(creator, other, path)["description"] == "in a batch"
    assert len(same(creator, other, path + "/assignments")["value"]) == 2

    ask(204, "DELETE", other + path)
    ask(404, "GET", creator + path)
    # And one that stays, for what comes after.
    kept = ask(201, "POST", creator + root, body | {"displayName": "kept"})["id"]
    ask(201, "POST", other + f"{root}/{kept}/assignments", group("kept"))


urls = sys.argv[1:]
pairs = [(urls[0], urls[0])] if len(urls) == 1 else [(urls[0], urls[1]), (urls[1], urls[0])]
for version in ("v1.0", "beta"):
    for creator, other in pairs:
        session(version, creator, other)
# All that was ever made, whoever made it.
for version in ("v1.0", "beta"):
    every = same(urls[0], urls[-1], f"/{version}/deviceManagement/deviceConfigurations?$expand=assignments&$orderby=id")["value"]
    assert all([row["target"]["groupId"] for row in one["assignments"]] == ["kept"] for one in every), every
print(f"{asked} requests in {2 * len(pairs)} sessions, {len(every)} configurations read alike")
