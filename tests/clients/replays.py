"""The requests that administration tools send, with what each tool reads from the answers.

replays.py URL

Each request has the form in which the tool sends it: letter case, options, headers and body. A check fails when the
status is another one, or when a member that the tool reads is missing.
"""

import json
import sys
import urllib.error
import urllib.request
from uuid import uuid4

CONFIGURATIONS = "deviceManagement/deviceConfigurations"
GROUP, OTHER_GROUP = str(uuid4()), str(uuid4())
UPDATE_RING = "#microsoft.graph.windowsUpdateForBusinessConfiguration"
IOS_UPDATE = "#microsoft.graph.iosUpdateConfiguration"
CUSTOM = "#microsoft.graph.windows10CustomConfiguration"
FULL = {"Accept": "application/json;odata.metadata=full"}
RESTORED = {
    "@odata.type": CUSTOM,
    "id": "00000000-0000-0000-0000-000000000000",
    "displayName": "restored",
    "supportsScopeTags": False,
    "version": 3,
    "createdDateTime": "2024-01-01T00:00:00Z",
    "roleScopeTagIds": ["0"],
    "omaSettings": [
        {
            "@odata.type": "#microsoft.graph.omaSettingString",
            "displayName": "a secret",
            "description": None,
            "omaUri": "./Vendor/MSFT/Test",
            "secretReferenceValueId": None,
            "isEncrypted": True,
            "value": "open sesame",
        }
    ],
}


class Tool:
    """Sends requests in the name of a tool. A failure names the tool and the request."""

    def __init__(self, name, url, headers=None):
        self.name, self.url, self.headers = name, url, headers or {}

    def send(self, method, path, body=None, expect=200, headers=None, read=()):
        """Returns the body. `read` has the members that the tool reads from the entity, or from each row."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | self.headers | (headers or {})
        request = urllib.request.Request(f"{self.url}/{path.replace(' ', '%20')}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            status, text = refusal.code, refusal.read()
        what = f"{self.name}: {method} {path}"
        assert status == expect, f"{what}: {status} instead of {expect}: {text[:600].decode()}"
        answer = json.loads(text) if text else None
        rows = answer["value"] if answer and isinstance(answer.get("value"), list) else [answer]
        assert rows or not read, f"{what}: no row"
        for row in rows if read else []:
            missing = [name for name in read if name not in row]
            assert not missing, f"{what}: {missing} are missing in {row}"
        return answer


def microsoft365dsc(url, id):
    tool = Tool("Microsoft365DSC", url)
    found = tool.send("GET", f"beta/{CONFIGURATIONS}?$filter=DisplayName eq 'ring'", read=["id", "@odata.type"])
    assert [row["id"] for row in found["value"]] == [id], found
    tool.send("GET", f"beta/{CONFIGURATIONS}/{id}", read=["displayName", "description", "roleScopeTagIds"])
    tool.send("GET", f"beta/{CONFIGURATIONS}/{id}/assignments", read=["id", "target", "intent", "source", "sourceId"])
    change = {"@odata.type": UPDATE_RING, "description": "by Microsoft365DSC"}
    tool.send("PATCH", f"beta/{CONFIGURATIONS}/{id}", change, expect=204)
    target = {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": GROUP}
    target |= {"deviceAndAppManagementAssignmentFilterType": "none"}
    tool.send("POST", f"beta/{CONFIGURATIONS}/{id}/assign", {"assignments": [{"target": target}]}, read=["id"])
    created = tool.send("POST", f"beta/{CONFIGURATIONS}", RESTORED, expect=201, read=["id"])
    read_secret(tool, created["id"])
    tool.send("DELETE", f"beta/{CONFIGURATIONS}/{created['id']}", expect=204)


def read_secret(tool, id):
    [setting] = tool.send("GET", f"beta/{CONFIGURATIONS}/{id}", read=["omaSettings"])["omaSettings"]
    reference = setting["secretReferenceValueId"]
    path = f"beta/{CONFIGURATIONS}/{id}/getOmaSettingPlainTextValue(secretReferenceValueId='{reference}')"
    assert tool.send("GET", path, read=["value"])["value"] == "open sesame"


def intune_management(url, id):
    tool = Tool("IntuneManagement", url, FULL)
    links = ["assignments@odata.navigationLink", "assignments@odata.associationLink", "@odata.type", "@odata.id"]
    others = " and ".join(f"not isof('{name[1:]}')" for name in (UPDATE_RING, IOS_UPDATE))
    tool.send("GET", f"beta/{CONFIGURATIONS}?$filter={others}", read=links)
    updates = " or ".join(f"isof('{name[1:]}')" for name in (UPDATE_RING, IOS_UPDATE))
    found = tool.send("GET", f"beta/{CONFIGURATIONS}?$filter={updates}&$expand=assignments", read=[*links, "assignments"])
    assert id in [row["id"] for row in found["value"]], found
    item = tool.send("GET", f"beta/{CONFIGURATIONS}/{id}?$expand=assignments", read=["assignments", "@odata.editLink"])
    for name in ("@odata.id", "@odata.editLink", *links[:2]):
        path = item[name].removeprefix(f"{url}/").removeprefix("beta/")
        tool.send("GET", f"beta/{path}")
    step = {"id": 1, "method": "GET", "url": f"/{CONFIGURATIONS}/{id}?$expand=assignments", "headers": FULL}
    [response] = tool.send("POST", "beta/$batch", {"requests": [step]})["responses"]
    assert response["status"] == 200 and links[0] in response["body"], response
    tool.send("GET", f"beta/{CONFIGURATIONS}?$select=Id,displayName&$filter=displayName eq 'ring'", read=["id", "displayName"])
    imported = {name: value for name, value in item.items() if name not in ("id", "assignments")}
    created = tool.send("POST", f"beta/{CONFIGURATIONS}", imported | {"displayName": "imported"}, expect=201, read=["id"])
    body = {"assignments": [{"target": entry["target"]} for entry in item["assignments"]]}
    tool.send("POST", f"beta/{CONFIGURATIONS}/{created['id']}/assign", body)
    tool.send("PATCH", f"beta/{CONFIGURATIONS}/{created['id']}", {"@odata.type": UPDATE_RING, "displayName": "x"}, expect=204)
    tool.send("DELETE", f"beta/{CONFIGURATIONS}/{created['id']}", expect=204)


def intune_backup_and_restore(url, id):
    tool = Tool("IntuneBackupAndRestore", url)
    tool.send("GET", f"beta/{CONFIGURATIONS}", read=["id", "displayName", "@odata.type"])
    assignments = tool.send("GET", f"beta/{CONFIGURATIONS}/{id}/assignments", read=["id", "sourceId", "target"])["value"]
    tool.send("GET", f"beta/{CONFIGURATIONS}/{assignments[0]['sourceId']}", read=["id"])
    created = tool.send("POST", f"beta/{CONFIGURATIONS}", RESTORED, expect=201, read=["id"])
    read_secret(tool, created["id"])
    body = {"assignments": [{"target": entry["target"]} for entry in assignments]}
    tool.send("POST", f"beta/{CONFIGURATIONS}/{created['id']}/assign", body)
    tool.send("DELETE", f"beta/{CONFIGURATIONS}/{created['id']}", expect=204)


def intune_toolkit(url, id):
    tool = Tool("Intune-Toolkit", url)
    tool.send("GET", f"beta/{CONFIGURATIONS}?$expand=assignments", read=["id", "displayName", "assignments"])
    tool.send("GET", f"beta/{CONFIGURATIONS}('{id}')/assignments", read=["id", "target"])
    tool.send("GET", f"beta/{CONFIGURATIONS}('{id}')?$expand=assignments", read=["assignments"])
    tool.send("GET", f"beta/{CONFIGURATIONS}('{id}')?$select=id,description,roleScopeTagIds", read=["roleScopeTagIds"])
    change = {"@odata.type": UPDATE_RING, "roleScopeTagIds": ["0"]}
    tool.send("PATCH", f"beta/{CONFIGURATIONS}('{id}')", change, expect=204)
    none = {"deviceAndAppManagementAssignmentFilterId": "00000000-0000-0000-0000-000000000000"}
    none |= {"deviceAndAppManagementAssignmentFilterType": "none"}
    target = {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"} | none
    group = {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": GROUP.upper()}
    body = {"assignments": [{"id": "", "target": target}, {"id": "", "target": group}]}
    tool.send("POST", f"beta/{CONFIGURATIONS}('{id}')/assign", body, read=["target"])


def cipp(url, id):
    tool = Tool("CIPP", url, {"ConsistencyLevel": "eventual"})
    cast = "microsoft.graph.unsupportedDeviceConfiguration/originalEntityTypeName"
    members = f"id,displayName,lastModifiedDateTime,roleScopeTagIds,{cast},description"
    read = ["id", "displayName", "lastModifiedDateTime", "assignments", "@odata.type"]
    tool.send("GET", f"beta/{CONFIGURATIONS}?$select={members}&$expand=assignments&$top=1000", read=read)
    tool.send("GET", f"beta/{CONFIGURATIONS}?$top=999&$expand=assignments", read=["id", "assignments"])
    tool.send("GET", f"beta/{CONFIGURATIONS}?$orderby=lastModifiedDateTime desc&$select={members}&$top=999", read=["id"])
    existing = tool.send("GET", f"beta/{CONFIGURATIONS}('{id}')/assignments", read=["id", "target"])["value"]
    exclusion = {"@odata.type": "#microsoft.graph.exclusionGroupAssignmentTarget", "groupId": OTHER_GROUP}
    body = {"assignments": [{"target": entry["target"]} for entry in existing] + [{"target": exclusion}]}
    tool.send("POST", f"beta/{CONFIGURATIONS}('{id}')/assign", body, read=["target"])


def terraform(url, id):
    tool = Tool("terraform-provider-microsoft365", url)
    created = tool.send("POST", f"beta/{CONFIGURATIONS}", {"@odata.type": IOS_UPDATE, "displayName": "t"}, expect=201, read=["id"])
    own = f"{CONFIGURATIONS}/{created['id']}"
    target = {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": GROUP}
    tool.send("POST", f"beta/{own}/assign", {"assignments": [{"target": target}]})
    tool.send("GET", f"beta/{own}?$expand=assignments", read=["id", "assignments"])
    tool.send("PATCH", f"beta/{own}", {"@odata.type": IOS_UPDATE, "displayName": "u"}, expect=204)
    all_users = {"target": {"@odata.type": "#microsoft.graph.allLicensedUsersAssignmentTarget"}}
    assignment = tool.send("POST", f"v1.0/{own}/assignments", all_users, expect=201, read=["id", "target"])
    tool.send("GET", f"v1.0/{own}/assignments/{assignment['id']}", read=["id", "target"])
    all_devices = {"target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}}
    tool.send("PATCH", f"v1.0/{own}/assignments/{assignment['id']}", all_devices, read=["id", "target"])
    tool.send("DELETE", f"v1.0/{own}/assignments/{assignment['id']}", expect=204)
    tool.send("DELETE", f"beta/{own}", expect=204)


def powershell_samples(url, id):
    tool = Tool("powershell-intune-samples", url)
    tool.send("GET", f"Beta/{CONFIGURATIONS}", read=["id", "displayName"])
    tool.send("GET", f"Beta/{CONFIGURATIONS}?$filter=displayname eq 'ring'", read=["id"])
    read = ["id", "targetGroupId", "excludeGroup"]
    groups = tool.send("GET", f"Beta/{CONFIGURATIONS}/{id}/groupAssignments", read=read)["value"]
    assert {(row["targetGroupId"], row["excludeGroup"]) for row in groups} == {(GROUP, False), (OTHER_GROUP, True)}, groups
    one = tool.send("GET", f"Beta/{CONFIGURATIONS}/{id}/groupAssignments/{groups[0]['id']}", read=read)
    assert one["targetGroupId"] == groups[0]["targetGroupId"], one
    old = [{"@odata.type": "#microsoft.graph.deviceConfigurationGroupAssignment"} | member for member in (
        {"targetGroupId": GROUP, "excludeGroup": False},
        {"targetGroupId": OTHER_GROUP, "excludeGroup": True},
    )]
    tool.send("POST", f"Beta/{CONFIGURATIONS}/{id}/assign", {"deviceConfigurationGroupAssignments": old})
    tool.send("GET", f"Beta/{CONFIGURATIONS}/{id}/assignments", read=["id", "target"])


def readers(url, id):
    """Tools that only read: IntuneAssignmentChecker and M365-Assess."""
    checker = Tool("IntuneAssignmentChecker", url)
    checker.send("GET", f"beta/{CONFIGURATIONS}", read=["id", "displayName"])
    checker.send("GET", f"beta/{CONFIGURATIONS}('{id}')/assignments", read=["target"])
    Tool("M365-Assess", url).send("GET", f"beta/{CONFIGURATIONS}?$expand=assignments", read=["displayName", "assignments"])


def main(url):
    setup = Tool("setup", url)
    for name in ("a", "b"):
        setup.send("POST", f"beta/{CONFIGURATIONS}", {"@odata.type": CUSTOM, "displayName": name}, expect=201)
    ring = {"@odata.type": UPDATE_RING, "displayName": "ring", "description": None}
    id = setup.send("POST", f"beta/{CONFIGURATIONS}", ring, expect=201)["id"]
    target = {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": GROUP}
    setup.send("POST", f"beta/{CONFIGURATIONS}/{id}/assign", {"assignments": [{"target": target}]})
    tools = [microsoft365dsc, intune_management, intune_backup_and_restore, intune_toolkit, cipp, terraform]
    tools += [powershell_samples, readers]
    faults = []
    for tool in tools:
        try:
            tool(url, id)
        except AssertionError as fault:
            faults.append(str(fault))
    if faults:
        sys.exit("replays: " + "\nreplays: ".join(faults))
    print(f"replays: the requests of {len(tools) + 1} tools are answered")


if __name__ == "__main__":
    main(*sys.argv[1:])
