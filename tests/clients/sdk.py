"""Tests the service with the unchanged Python SDK. msgraph-sdk gets only the address of the service and a credential.
Every change is read back.

    sdk.py URL [FOLDER]    FOLDER has the key of tokens.py; without it the service must need no token
"""

import asyncio
import dataclasses
import json
import sys
import time
from datetime import datetime, time as hours, timezone
from uuid import uuid4

from azure.core.credentials import AccessToken
from kiota_abstractions.authentication import AnonymousAuthenticationProvider
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_abstractions.serialization import Parsable, ParseNodeFactoryRegistry
from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.device_management.device_configurations.item.assign.assign_post_request_body import (
    AssignPostRequestBody,
)
from msgraph.generated.models.all_devices_assignment_target import AllDevicesAssignmentTarget
from msgraph.generated.models.all_licensed_users_assignment_target import AllLicensedUsersAssignmentTarget
from msgraph.generated.models.automatic_update_mode import AutomaticUpdateMode
from msgraph.generated.models.day_of_week import DayOfWeek
from msgraph.generated.models.device_configuration_assignment import DeviceConfigurationAssignment
from msgraph.generated.models.device_configuration_collection_response import DeviceConfigurationCollectionResponse
from msgraph.generated.models.exclusion_group_assignment_target import ExclusionGroupAssignmentTarget
from msgraph.generated.models.group_assignment_target import GroupAssignmentTarget
from msgraph.generated.models.ios_update_configuration import IosUpdateConfiguration
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.oma_setting_boolean import OmaSettingBoolean
from msgraph.generated.models.oma_setting_date_time import OmaSettingDateTime
from msgraph.generated.models.oma_setting_floating_point import OmaSettingFloatingPoint
from msgraph.generated.models.oma_setting_integer import OmaSettingInteger
from msgraph.generated.models.oma_setting_string import OmaSettingString
from msgraph.generated.models.windows10_custom_configuration import Windows10CustomConfiguration
from msgraph.generated.models.windows_update_active_hours_install import WindowsUpdateActiveHoursInstall
from msgraph.generated.models.windows_update_for_business_configuration import WindowsUpdateForBusinessConfiguration
from msgraph_core.requests.batch_request_content import BatchRequestContent
from msgraph_core.requests.batch_request_item import BatchRequestItem
from msgraph_core.tasks.page_iterator import PageIterator

import tokens

NOBODY = str(uuid4())


class Credential:
    """Replaces azure-identity: returns the signed token for every request."""

    def __init__(self, token):
        self.token = token

    def get_token(self, *scopes, **options):
        return AccessToken(self.token, int(time.time()) + 600)


def client(url, token=None):
    adapter = GraphRequestAdapter(
        AzureIdentityAuthenticationProvider(Credential(token)) if token else AnonymousAuthenticationProvider()
    )
    adapter.base_url = f"{url}/v1.0"
    return GraphServiceClient(request_adapter=adapter)


def query(builder, **options):
    """Returns the options of a GET. Each builder of the SDK has a class for them."""
    (of_builder,) = (each for name, each in vars(type(builder)).items() if name.endswith("GetQueryParameters"))
    return RequestConfiguration(query_parameters=of_builder(**options))


def holds(read, sent):
    """Asserts that everything that was sent was also read, in the types of the SDK."""
    if isinstance(sent, Parsable):
        assert type(read) is type(sent), f"{type(read)} for {type(sent)}"
        for field in dataclasses.fields(sent):
            if field.name not in ("backing_store", "additional_data") and getattr(sent, field.name) is not None:
                holds(getattr(read, field.name), getattr(sent, field.name))
    elif isinstance(sent, list):
        assert len(read) == len(sent), f"{read} for {sent}"
        for pair in zip(read, sent):
            holds(*pair)
    else:
        assert read == sent, f"{read!r} for {sent!r}"


async def refused(call, status, code, said=""):
    try:
        answer = await call
    except ODataError as error:
        assert (error.response_status_code, error.error.code) == (status, code), error
        assert said in error.error.message, error.error.message
        inner = error.error.inner_error
        assert inner.request_id and inner.client_request_id and isinstance(inner.date, datetime), inner
    else:
        raise AssertionError(f"{answer} instead of {status} {code}")


def ios(name):
    return IosUpdateConfiguration(display_name=name, utc_time_offset_in_minutes=60)


def to(target):
    return DeviceConfigurationAssignment(target=target)


def targets(assignments):
    return sorted((type(each.target).__name__, getattr(each.target, "group_id", "")) for each in assignments)


class Session:
    """A client, and a name for the rows that it creates, so that other rows in the database do not matter."""

    def __init__(self, graph):
        self.graph = graph
        self.all = graph.device_management.device_configurations
        self.name = f"sdk {uuid4()}"
        self.is_own = f"startswith(displayName,'{self.name}')"
        self.own = query(self.all, filter=self.is_own)

    def one(self, configuration):
        return self.all.by_device_configuration_id(configuration.id)

    async def create(self, suffix):
        return await self.all.post(ios(f"{self.name} {suffix}"))

    async def names(self):
        return sorted(each.display_name.removeprefix(f"{self.name} ") for each in (await self.all.get(self.own)).value)

    async def creates_typed_configurations(self):
        cutover = datetime(2026, 3, 1, 6, tzinfo=timezone.utc)
        for sent in [
            IosUpdateConfiguration(
                display_name=f"{self.name} iOS ü",
                description="Nights and weekends",
                active_hours_start=hours(8),
                active_hours_end=hours(17, 30),
                scheduled_install_days=[DayOfWeek.Saturday, DayOfWeek.Sunday],
                utc_time_offset_in_minutes=60,
            ),
            Windows10CustomConfiguration(
                display_name=f"{self.name} OMA",
                oma_settings=[
                    OmaSettingInteger(display_name="Telemetry", oma_uri="./Vendor/a", value=1),
                    OmaSettingString(display_name="Home page", oma_uri="./Vendor/b", value="<https://example.org>"),
                    OmaSettingBoolean(display_name="Cloud trust", oma_uri="./Vendor/c", value=True),
                    OmaSettingDateTime(display_name="Cutover", oma_uri="./Vendor/d", value=cutover),
                    OmaSettingFloatingPoint(display_name="Ratio", oma_uri="./Vendor/e", value=0.75),
                ],
            ),
            WindowsUpdateForBusinessConfiguration(
                display_name=f"{self.name} ring",
                automatic_update_mode=AutomaticUpdateMode.AutoInstallAtMaintenanceTime,
                drivers_excluded=True,
                quality_updates_deferral_period_in_days=5,
                installation_schedule=WindowsUpdateActiveHoursInstall(
                    active_hours_start=hours(8), active_hours_end=hours(17)
                ),
            ),
        ]:
            created = await self.all.post(sent)
            holds(created, sent)
            assert created.version == 1 and created.created_date_time == created.last_modified_date_time
            read = await self.one(created).get()
            assert read.id == created.id
            holds(read, sent)

    async def pages(self):
        for number in range(5):
            await self.create(f"page {number}")
        first = await self.all.get(
            query(self.all, filter=self.is_own, orderby=["displayName desc"], top=2, count=True)
        )
        assert len(first.value) == 2 and first.odata_count == 5 and first.odata_next_link
        pages, found = [first.odata_next_link], []
        iterator = PageIterator(first, self.graph.request_adapter)

        def take(configuration):
            if iterator.current_page.odata_next_link not in pages:
                pages.append(iterator.current_page.odata_next_link)
            found.append((type(configuration), configuration.display_name))
            return True

        await iterator.iterate(take)
        assert len(pages) == 3, pages
        assert found == [(IosUpdateConfiguration, f"{self.name} page {number}") for number in (4, 3, 2, 1, 0)], found

    async def filters(self):
        for suffix in ("it's a, (b) & c+d", "another"):
            await self.create(suffix)
        quoted = f"{self.name} it''s a, (b) & c+d"
        found = (await self.all.get(query(self.all, filter=f"displayName eq '{quoted}'"))).value
        assert [each.display_name for each in found] == [quoted.replace("''", "'")], found
        assert (await self.all.get(query(self.all, filter=f"displayName eq '{NOBODY}'"))).value == []
        await self.all.post(Windows10CustomConfiguration(display_name=f"{self.name} custom"))
        of_type = f"isof('microsoft.graph.windows10CustomConfiguration') and {self.is_own}"
        found = (await self.all.get(query(self.all, filter=of_type, select=["id", "displayName"]))).value
        assert [(type(each), each.display_name) for each in found] == [
            (Windows10CustomConfiguration, f"{self.name} custom")
        ]
        assert found[0].version is None, "not selected"
        assert await self.all.count.get(query(self.all.count, filter=self.is_own)) == 3

    async def changes(self):
        created = await self.create("before")
        change = IosUpdateConfiguration(display_name=f"{self.name} after", utc_time_offset_in_minutes=-120)
        holds(await self.one(created).patch(change), change)
        read = await self.one(created).get()
        holds(read, change)
        assert read.version == 2 and read.last_modified_date_time > created.last_modified_date_time
        assert read.created_date_time == created.created_date_time

    async def assigns(self):
        created = await self.create("assigned")
        one = self.one(created)
        three = [
            to(GroupAssignmentTarget(group_id="pilots")),
            to(ExclusionGroupAssignmentTarget(group_id="kiosks")),
            to(AllDevicesAssignmentTarget()),
        ]
        answer = await one.assign.post(AssignPostRequestBody(assignments=three))
        assert targets(answer.value) == targets(three)
        read = (await one.assignments.get()).value
        assert targets(read) == targets(three) and {each.id for each in read} == {each.id for each in answer.value}
        expanded = await one.get(query(one, expand=["assignments"]))
        assert targets(expanded.assignments) == targets(three)
        reached = query(self.all, filter="assignments/any(a:a/target/microsoft.graph.groupAssignmentTarget/groupId eq 'pilots')")
        assert created.id in {each.id for each in (await self.all.get(reached)).value}
        await one.assign.post(AssignPostRequestBody(assignments=[three[1]]))
        assert targets((await one.assignments.get()).value) == targets([three[1]])
        # The SDK has no member for the parameters of this service. They are additional data.
        plan = AssignPostRequestBody(assignments=[three[0]], additional_data={"mode": "add", "validateOnly": True})
        planned = await one.assign.post(plan)
        assert [change["action"] for change in planned.additional_data["changes"]] == ["create"]
        assert targets((await one.assignments.get()).value) == targets([three[1]])
        added = await one.assign.post(AssignPostRequestBody(assignments=[three[0]], additional_data={"mode": "add"}))
        assert targets(added.value) == targets([three[0], three[1]])
        await one.assign.post(AssignPostRequestBody(assignments=[three[0]], additional_data={"mode": "remove"}))
        assert targets((await one.assignments.get()).value) == targets([three[1]])

    async def adds_assignments(self):
        one = self.one(await self.create("assigned one by one"))
        sent = [to(GroupAssignmentTarget(group_id="pilots")), to(AllLicensedUsersAssignmentTarget())]
        added = [await one.assignments.post(each) for each in sent]
        assert targets(added) == targets(sent)
        assert targets((await one.assignments.get()).value) == targets(sent)
        await refused(one.assignments.post(sent[0]), 409, "Conflict", added[0].id)
        assert targets((await one.assignments.get()).value) == targets(sent)
        first = one.assignments.by_device_configuration_assignment_id(added[0].id)
        holds((await first.get()).target, sent[0].target)
        await first.patch(to(GroupAssignmentTarget(group_id="everybody")))
        assert (await first.get()).target.group_id == "everybody"
        await first.delete()
        await refused(first.get(), 404, "ResourceNotFound")
        assert targets((await one.assignments.get()).value) == targets(sent[1:])

    async def creates_with_assignments(self):
        sent = ios(f"{self.name} with assignments")
        sent.assignments = [to(GroupAssignmentTarget(group_id="pilots")), to(AllDevicesAssignmentTarget())]
        created = await self.all.post(sent)
        holds(created, ios(sent.display_name))
        assert targets(created.assignments) == targets(sent.assignments)
        assert targets((await self.one(created).assignments.get()).value) == targets(sent.assignments)
        change = ios(f"{self.name} changed")
        change.assignments = sent.assignments
        await refused(self.one(created).patch(change), 400, "ModelValidationFailure", "assign")

    async def refuses(self):
        created = await self.create("there")
        nobody = self.all.by_device_configuration_id(NOBODY)
        await refused(nobody.get(), 404, "ResourceNotFound", NOBODY)
        await refused(nobody.patch(ios("x")), 404, "ResourceNotFound")
        await refused(nobody.delete(), 404, "ResourceNotFound")
        await refused(nobody.assignments.post(to(AllDevicesAssignmentTarget())), 404, "ResourceNotFound")
        again = ios("another content")
        again.id = created.id
        await refused(self.all.post(again), 409, "Conflict", created.id)
        await refused(self.all.post(IosUpdateConfiguration()), 400, "ModelValidationFailure", "displayName")
        await refused(self.all.get(query(self.all, filter="displayName eq")), 400, "BadRequest", "$filter")
        await refused(self.one(created).assignments.post(to(GroupAssignmentTarget())), 400, "ModelValidationFailure", "groupId")
        assert await self.names() == ["there"]

    async def batches(self):
        changed, deleted = await self.create("changed"), await self.create("deleted")
        steps = {
            "change": self.one(changed).to_patch_request_information(ios(f"{self.name} in a batch")),
            "assign": self.one(changed).assignments.to_post_request_information(to(AllDevicesAssignmentTarget())),
            "delete": self.one(deleted).to_delete_request_information(),
            "missing": self.all.by_device_configuration_id(NOBODY).to_get_request_information(),
            "create": self.all.to_post_request_information(ios(f"{self.name} created")),
        }
        assert await self.batch(steps) == {"change": 200, "assign": 201, "delete": 204, "missing": 404, "create": 201}
        assert await self.names() == ["created", "in a batch"]
        assert targets((await self.one(changed).assignments.get()).value) == [("AllDevicesAssignmentTarget", "")]
        await self.batch_bodies(changed)
        await self.batch_dependencies(changed)

    async def batch(self, steps, depends_on={}):
        return (await self.graph.batch.post(self.content(steps, depends_on))).get_response_status_codes()

    @staticmethod
    def content(steps, depends_on={}):
        content = BatchRequestContent()
        for name, step in steps.items():
            content.add_request(name, BatchRequestItem(step, id=name, depends_on=depends_on.get(name)))
        return content

    async def batch_bodies(self, configuration):
        """Returns the bodies of the steps. The SDK takes the body of a step for base64 and drops an object
        (kiota-serialization-json 1.16.0), so this reads the answer of the SDK's adapter."""
        steps = {
            "one": self.one(configuration).to_get_request_information(),
            "list": self.all.to_get_request_information(self.own),
            "missing": self.all.by_device_configuration_id(NOBODY).to_get_request_information(),
        }
        request = await self.graph.batch.to_post_request_information(self.content(steps))
        answer = json.loads(await self.graph.request_adapter.send_primitive_async(request, "bytes", {}))
        answers = {each["id"]: each for each in answer["responses"]}
        assert {name: each["status"] for name, each in answers.items()} == {"one": 200, "list": 200, "missing": 404}

        def body(name, of):
            json_type = answers[name]["headers"]["Content-Type"].partition(";")[0]
            node = ParseNodeFactoryRegistry().get_root_parse_node(json_type, json.dumps(answers[name]["body"]).encode())
            return node.get_object_value(of)

        holds(body("one", IosUpdateConfiguration), await self.one(configuration).get())
        page = body("list", DeviceConfigurationCollectionResponse)
        assert configuration.id in {each.id for each in page.value}
        assert body("missing", ODataError).error.code == "ResourceNotFound"

    async def batch_dependencies(self, configuration):
        missing = self.all.by_device_configuration_id(NOBODY)

        def rename(name):
            return self.one(configuration).to_patch_request_information(ios(f"{self.name} {name}"))

        steps = {
            "failing": missing.assignments.to_post_request_information(to(AllDevicesAssignmentTarget())),
            "behind it": rename("never"),
            "behind that": self.one(configuration).to_delete_request_information(),
            "apart": rename("apart"),
            "behind apart": self.one(configuration).to_get_request_information(),
        }
        depends_on = {"behind it": ["failing"], "behind that": ["behind it"], "behind apart": ["apart"]}
        assert await self.batch(steps, depends_on) == {
            "failing": 404, "behind it": 424, "behind that": 424, "apart": 200, "behind apart": 200,
        }
        read = await self.one(configuration).get()
        assert read.display_name == f"{self.name} apart" and read.version == configuration.version + 2, read

    async def deletes(self):
        created = await self.create("for a moment")
        await self.one(created).assignments.post(to(AllDevicesAssignmentTarget()))
        await self.one(created).delete()
        await refused(self.one(created).get(), 404, "ResourceNotFound")
        await refused(self.one(created).delete(), 404, "ResourceNotFound")
        assert await self.names() == []

    async def clear(self):
        for configuration in (await self.all.get(self.own)).value:
            await self.one(configuration).delete()
        assert await self.names() == []


CHECKS = [
    Session.creates_typed_configurations,
    Session.pages,
    Session.filters,
    Session.changes,
    Session.assigns,
    Session.adds_assignments,
    Session.creates_with_assignments,
    Session.refuses,
    Session.batches,
    Session.deletes,
]


async def asks_for_tokens(url, key):
    def configurations(token=None):
        return client(url, token).device_management.device_configurations

    writer = Session(client(url, tokens.sign(key, roles=[tokens.WRITE])))
    created = await writer.create("by a writer")
    for reader in (tokens.sign(key, scp=tokens.READ), tokens.sign(key, roles=[tokens.READ])):
        readable = configurations(reader)
        assert (await readable.by_device_configuration_id(created.id).get()).display_name == created.display_name
        await refused(readable.post(ios("x")), 403, "Forbidden", tokens.WRITE)
        await refused(readable.by_device_configuration_id(created.id).delete(), 403, "Forbidden", tokens.WRITE)
    await refused(configurations(tokens.sign(key)).get(), 403, "Forbidden", tokens.READ)
    for wrong in (
        None,
        "no token",
        tokens.sign(tokens.new_key(), roles=[tokens.WRITE]),
        tokens.sign(key, lifetime=-600, roles=[tokens.WRITE]),
        tokens.sign(key, aud="another", roles=[tokens.WRITE]),
        tokens.sign(key, iss="https://another.test", roles=[tokens.WRITE]),
    ):
        refusing = configurations(wrong)
        await refused(refusing.get(), 401, "InvalidAuthenticationToken")
        await refused(refusing.by_device_configuration_id(created.id).delete(), 401, "InvalidAuthenticationToken")
    assert await writer.names() == ["by a writer"]
    await writer.clear()


async def main(url, folder=None):
    key = tokens.load(folder) if folder else None
    graph = client(url, tokens.sign(key, roles=[tokens.WRITE]) if key else None)
    for check in CHECKS:
        session = Session(graph)
        await check(session)
        await session.clear()
        print(f"sdk: {check.__name__}")
    if key:
        await asks_for_tokens(url, key)
        print("sdk: asks_for_tokens")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
