"""Two releases of the service on one database: each reads and changes what the other one has written.

    both.py URL [URL]

Tests both directions on both versions of the API. With one URL, tests only this release.
Prints figures, and ends with a traceback at the first wrong answer.
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
    """Returns a body without annotations: their links name the process, and a release may add annotations."""
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items() if "@odata." not in name or name == "@odata.type"}
    return [plain(item) for item in value] if isinstance(value, list) else value


def same(one, other, path):
    """Reads a path from both processes. Returns the body, which must be the same."""
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

    # Both releases change the configuration, and the version counts both changes. On /beta
    # an older release answers with the entity, and a newer one with 204.
    changed = (200, 204) if version == "beta" else (200,)
    ask(changed, "PATCH", other + path, {"description": "by the other"})
    ask(changed, "PATCH", creator + path, {"displayName": name + " changed"})
    read = same(creator, other, path)
    assert (read["description"], read["displayName"], read["version"]) == ("by the other", name + " changed", 3), read

    # Both releases create assignments. Each refuses a target that the other one has
    # assigned.
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

    # Each release replaces the whole set of the other one.
    for by, then in ((other, creator), (creator, other)):
        wanted = {str(uuid.uuid4()) for _ in range(3)}
        ask(200, "POST", by + path + "/assign", {"assignments": [group(name) for name in wanted]})
        listed = ask(200, "GET", then + path + "/assignments")["value"]
        assert {row["target"]["groupId"] for row in listed} == wanted, listed

    # A status, a list with a filter and $expand, and an atomicity group.
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
    # This configuration stays, for the comparison at the end.
    kept = ask(201, "POST", creator + root, body | {"displayName": "kept"})["id"]
    ask(201, "POST", other + f"{root}/{kept}/assignments", group("kept"))


urls = sys.argv[1:]
pairs = [(urls[0], urls[0])] if len(urls) == 1 else [(urls[0], urls[1]), (urls[1], urls[0])]
for version in ("v1.0", "beta"):
    for creator, other in pairs:
        session(version, creator, other)
# Both releases read all configurations alike, whichever release created them.
for version in ("v1.0", "beta"):
    every = same(urls[0], urls[-1], f"/{version}/deviceManagement/deviceConfigurations?$expand=assignments&$orderby=id")["value"]
    assert all([row["target"]["groupId"] for row in one["assignments"]] == ["kept"] for one in every), every
print(f"{asked} requests in {2 * len(pairs)} sessions, {len(every)} configurations read alike")
