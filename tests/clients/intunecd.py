"""Runs the published IntuneCD against the service: a backup, a restore into an empty store, and changes.

intunecd.py URL FOLDER    FOLDER is for the backups and the certificates of the proxy
"""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from uuid import uuid4

import graph_proxy

GROUPS = {"Pilot's devices": str(uuid4()), "All but kiosks": str(uuid4()), "Kiosks": str(uuid4())}
FILTERS = {"Corporate Windows": str(uuid4())}
CONFIGURATIONS = "/beta/deviceManagement/deviceConfigurations"
# IntuneCD's name for device configurations. The test excludes everything else.
PROFILES = "Profiles"
SAMPLES = Path(__file__).parent.parent / "samples"


def main(url, folder):
    folder = Path(folder)
    directory = graph_proxy.Directory(GROUPS, FILTERS)
    with graph_proxy.running(url.removeprefix("http://"), directory, folder) as (proxy, environment):
        tool = Tool(environment)
        make_configurations(url)
        first = tool.backup(folder / "first")
        assert len(first) >= 18, sorted(first)
        assert any(b'"groupName": "Kiosks"' in text for text in first.values()), "assignments are in the backup"

        for configuration in call(url, "GET", CONFIGURATIONS)["value"]:
            call(url, "DELETE", f"{CONFIGURATIONS}/{configuration['id']}")
        assert call(url, "GET", CONFIGURATIONS)["value"] == []
        tool.update(folder / "first")
        again = tool.backup(folder / "again")
        differ = [name for name in first.keys() | again.keys() if first.get(name) != again.get(name)]
        assert not differ, f"restored, these files differ: {differ}"

        proxy.requests.clear()
        tool.update(folder / "again")
        writes = [request for request in proxy.requests if request[0] != "GET" and not request[1].endswith("/$batch")]
        assert not writes, f"an update without changes sends {writes}"

        update(url, tool, folder, proxy)
    print(f"intunecd: {len(first)} files, restored byte for byte; a change, an assignment and a removal applied")


def update(url, tool, folder, proxy):
    """Changes a file and its assignments, removes another file, and applies both."""
    folder = folder / "again"
    changed = next(path for path in configuration_files(folder) if "Pilot" in path.read_text())
    document = json.loads(changed.read_text())
    document["description"] = "changed in the repository"
    [removed] = [entry for entry in document["assignments"] if entry["target"].get("groupName") == "Kiosks"]
    document["assignments"].remove(removed)
    # IntuneCD sends a set only when it has more assignments than the stored one.
    for everyone in ("allDevicesAssignmentTarget", "allLicensedUsersAssignmentTarget"):
        document["assignments"].append({"target": {"@odata.type": f"#microsoft.graph.{everyone}"}})
    changed.write_text(json.dumps(document))
    gone = next(path for path in configuration_files(folder) if path != changed)
    gone_name = json.loads(gone.read_text())["displayName"]
    gone.unlink()

    proxy.requests.clear()
    tool.update(folder, "--remove")
    statuses = {(method, status) for method, path, status in proxy.requests if "/deviceConfigurations/" in path}
    assert {("PATCH", 204), ("POST", 200), ("DELETE", 204)} <= statuses, statuses

    stored = {row["displayName"]: row for row in call(url, "GET", f"{CONFIGURATIONS}?$expand=assignments")["value"]}
    assert gone_name not in stored, gone_name
    row = stored[document["displayName"]]
    assert row["description"] == "changed in the repository", row
    targets = {(of(entry), entry["target"].get("groupId")) for entry in row["assignments"]}
    expected = {
        ("groupAssignmentTarget", GROUPS["Pilot's devices"]),
        ("exclusionGroupAssignmentTarget", GROUPS["All but kiosks"]),
        ("allDevicesAssignmentTarget", None),
        ("allLicensedUsersAssignmentTarget", None),
    }
    assert targets == expected, targets


def of(assignment):
    return assignment["target"]["@odata.type"].removeprefix("#microsoft.graph.")


def configuration_files(folder):
    return sorted((folder / "Device Configurations").glob("*.json"))


class Tool:
    """Runs the commands of IntuneCD in processes of their own, with settings that lead them to the proxy."""

    def __init__(self, environment):
        self.environment = os.environ | environment

    def run(self, command, path, *arguments):
        bin = Path(sys.executable).parent
        listing = subprocess.run([bin / command, "--help"], env=self.environment, capture_output=True, text=True, check=True)
        choices = listing.stdout.split("{", 1)[1].split("}", 1)[0]
        others = [choice.strip() for choice in choices.replace("\n", "").split(",")]
        others = [choice for choice in others if choice not in (PROFILES, "assignments")]
        run = [bin / command, "--token", "of-no-tenant", "--path", path, *arguments, "--exclude", *others]
        done = subprocess.run(run, env=self.environment, capture_output=True, text=True, timeout=300)
        log = done.stdout + done.stderr
        assert done.returncode == 0, log
        # The tool expects 200 for a delete. Graph's page and the service answer with 204.
        faults = [line for line in log.splitlines() if "rror" in line or "ailed" in line or "arning" in line]
        faults = [line for line in faults if "Failed to remove" not in line and "Request failed with status 204" not in line]
        assert not faults, "\n".join(faults)

    def backup(self, path):
        """Returns the files of a backup: name to bytes."""
        path.mkdir()
        self.run("IntuneCD-startbackup", path)
        files = (file for file in path.rglob("*") if file.is_file() and "Assignment Report" not in file.parts)
        return {str(file.relative_to(path)): file.read_bytes() for file in files}

    def update(self, path, *arguments):
        self.run("IntuneCD-startupdate", path, "--update-assignments", *arguments)


def make_configurations(url):
    """Creates one configuration of each sample, with all kinds of targets."""
    for sample in sorted(SAMPLES.glob("[01]*.json")):
        document = json.loads(sample.read_text()) | {"displayName": sample.stem}
        created = call(url, "POST", CONFIGURATIONS, document)
        targets = [
            {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": GROUPS["Pilot's devices"]},
            {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": GROUPS["Kiosks"]},
            {"@odata.type": "#microsoft.graph.exclusionGroupAssignmentTarget", "groupId": GROUPS["All but kiosks"]},
            {"@odata.type": "#microsoft.graph.allLicensedUsersAssignmentTarget"}
            | {
                "deviceAndAppManagementAssignmentFilterId": FILTERS["Corporate Windows"],
                "deviceAndAppManagementAssignmentFilterType": "include",
            },
        ]
        # The samples 01 to 09 get groups, the others get all users with a filter.
        targets = {"0": targets[:3], "1": targets[3:]}[sample.name[0]]
        path = f"{CONFIGURATIONS}/{created['id']}/assign"
        call(url, "POST", path, {"assignments": [{"target": target} for target in targets]})
    windows = json.loads((SAMPLES / "01-windows10Custom.json").read_text())
    call(url, "POST", CONFIGURATIONS, windows | {"displayName": "assigned to nothing"})


def call(url, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path.replace(" ", "%20"), data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request) as answer:
        text = answer.read()
    return json.loads(text) if text else None


if __name__ == "__main__":
    main(*sys.argv[1:])
