//! The route table: path, method, access, documentation and handler of every route.
//!
//! One entry has all of a route, so a route without documentation does not compile. The table
//! is formatted by hand. `/openapi.json` is generated from it. An unsupported method of a path
//! is 405 with the supported methods. Any other path is 404.

use actix_web::{Route as Handler, http::Method, web::to};

use super::{
    batch, docs, health, metrics,
    operation::{
        Answer, Body, Operation,
        Tag::{Assignments, Batch, Configurations, Model, Service, Statuses},
        operation,
    },
};
use crate::{
    auth::{
        Access::{self, Open, Read, ReadWrite, Token},
        PublicDocument::{self, Metadata},
    },
    catalogue::version::Version,
    console,
    odata::{metadata, options},
    resources::{
        assignments::{assign, group_assignments, handlers as assignments, model as assignment},
        configurations::{handlers as configurations, model as configuration},
        statuses::{handlers as statuses, model::StatusKind},
    },
};

/// A route.
pub struct Route {
    /// The path in the syntax of actix-web: `{name}` is any one segment.
    pub path: &'static str,
    /// The method. GET includes HEAD.
    pub method: Method,
    /// The access that the route requires.
    pub access: Access,
    /// The documentation in `/openapi.json`.
    pub operation: Operation,
    /// The supported system query options.
    pub options: &'static [&'static str],
    /// Whether the resource has an ETag. The handler then checks `If-Match` and `If-None-Match`.
    pub has_etag: bool,
    /// Whether `/v1.0` does not have the route.
    pub is_only_on_beta: bool,
    /// Creates the handler.
    pub handler: fn() -> Handler,
}

/// The routes of the service itself.
#[rustfmt::skip]
pub const SERVICE_ROUTES: &[Route] = &[
    route(Method::GET, "/", Open, || to(console::root), operation(
        "getWelcome", "Read the name, the version and the main paths of the service. A browser gets the console.", Service, Answer::Welcome)),
    console_file("/console/console.css", "getConsole.console.css"),
    console_file("/console/icon.svg", "getConsole.icon.svg"),
    console_file("/console/main.js", "getConsole.main.js"),
    console_file("/console/api.js", "getConsole.api.js"),
    console_file("/console/requests.js", "getConsole.requests.js"),
    console_file("/console/token.js", "getConsole.token.js"),
    console_file("/console/list.js", "getConsole.list.js"),
    console_file("/console/empty.js", "getConsole.empty.js"),
    console_file("/console/sample.json", "getConsole.sample.json"),
    console_file("/console/configuration.js", "getConsole.configuration.js"),
    console_file("/console/assignments.js", "getConsole.assignments.js"),
    console_file("/console/dom.js", "getConsole.dom.js"),
    route(Method::GET, "/health/live", Open, || to(health::live), operation(
        "getLiveness", "Check whether the process is up.", Service, Answer::Status("live"))),
    route(Method::GET, "/health/ready", Open, || to(health::ready), operation(
        "getReadiness", "Check whether the service is ready for requests.", Service, Answer::Status("ready"))),
    route(Method::GET, "/metrics", Access::PublicDocument(PublicDocument::Metrics), || to(metrics::get), operation(
        "getMetrics", "Read the metrics for Prometheus.", Service, Answer::File("application/openmetrics-text"))),
    route(Method::GET, "/openapi.json", Access::PublicDocument(PublicDocument::OpenApi), || to(docs::openapi), operation(
        "getOpenApi", "Read this document.", Service, Answer::File("application/json"))),
    route(Method::GET, "/docs", Access::PublicDocument(PublicDocument::Docs), || to(docs::page), operation(
        "getDocs", "Open this document as a page on which you can try the operations.", Service, Answer::File("text/html"))),
    route(Method::GET, "/docs/v1.0.json", Access::PublicDocument(PublicDocument::OpenApi), || to(docs::openapi_of_v1), operation(
        "getDocsOfV1", "Read the description of /v1.0 that the page /docs shows.", Service, Answer::File("application/json"))),
    route(Method::GET, "/docs/beta.json", Access::PublicDocument(PublicDocument::OpenApi), || to(docs::openapi_of_beta), operation(
        "getDocsOfBeta", "Read the description of /beta that the page /docs shows.", Service, Answer::File("application/json"))),
    route(Method::GET, "/docs/page.js", Access::PublicDocument(PublicDocument::Docs), || to(docs::script), operation(
        "getDocsScript", "Get the script that starts the page /docs.", Service, Answer::File("text/javascript"))),
    route(Method::GET, "/docs/swagger-ui.css", Access::PublicDocument(PublicDocument::Docs), || to(docs::style), operation(
        "getDocsStyle", "Get the style sheet of the page /docs.", Service, Answer::File("text/css"))),
    route(Method::GET, "/docs/swagger-ui-bundle.js", Access::PublicDocument(PublicDocument::Docs), || to(docs::bundle), operation(
        "getDocsBundle", "Get the script of Swagger UI for the page /docs.", Service, Answer::File("text/javascript"))),
];

/// The path of `$batch`.
pub const BATCH: &str = "/$batch";
/// The path of the collection of configurations.
pub const CONFIGURATIONS: &str = "/deviceManagement/deviceConfigurations";
const CONFIGURATIONS_COUNT: &str = "/deviceManagement/deviceConfigurations/$count";
/// The path of a configuration.
pub const CONFIGURATION: &str = "/deviceManagement/deviceConfigurations/{configuration}";
const ASSIGN: &str = "/deviceManagement/deviceConfigurations/{configuration}/assign";
const QUALIFIED_ASSIGN: &str = "/deviceManagement/deviceConfigurations/{configuration}/microsoft.graph.assign";
const PLAIN_TEXT: &str =
    "/deviceManagement/deviceConfigurations/{configuration}/getOmaSettingPlainTextValue({arguments})";
const QUALIFIED_PLAIN_TEXT: &str =
    "/deviceManagement/deviceConfigurations/{configuration}/microsoft.graph.getOmaSettingPlainTextValue({arguments})";
const ASSIGNMENTS: &str = "/deviceManagement/deviceConfigurations/{configuration}/assignments";
const ASSIGNMENTS_REF: &str = "/deviceManagement/deviceConfigurations/{configuration}/assignments/$ref";
const ASSIGNMENTS_COUNT: &str = "/deviceManagement/deviceConfigurations/{configuration}/assignments/$count";
const ASSIGNMENT: &str = "/deviceManagement/deviceConfigurations/{configuration}/assignments/{assignment}";
const GROUP_ASSIGNMENTS: &str = "/deviceManagement/deviceConfigurations/{configuration}/groupAssignments";
const GROUP_ASSIGNMENTS_REF: &str = "/deviceManagement/deviceConfigurations/{configuration}/groupAssignments/$ref";
const GROUP_ASSIGNMENT: &str = "/deviceManagement/deviceConfigurations/{configuration}/groupAssignments/{assignment}";
const DEVICE_STATUSES: &str = "/deviceManagement/deviceConfigurations/{configuration}/deviceStatuses";
const DEVICE_STATUSES_REF: &str = "/deviceManagement/deviceConfigurations/{configuration}/deviceStatuses/$ref";
const DEVICE_STATUS: &str = "/deviceManagement/deviceConfigurations/{configuration}/deviceStatuses/{status}";
const DEVICE_OVERVIEW: &str = "/deviceManagement/deviceConfigurations/{configuration}/deviceStatusOverview";
const DEVICE_OVERVIEW_REF: &str = "/deviceManagement/deviceConfigurations/{configuration}/deviceStatusOverview/$ref";
const USER_STATUSES: &str = "/deviceManagement/deviceConfigurations/{configuration}/userStatuses";
const USER_STATUSES_REF: &str = "/deviceManagement/deviceConfigurations/{configuration}/userStatuses/$ref";
const USER_STATUS: &str = "/deviceManagement/deviceConfigurations/{configuration}/userStatuses/{status}";
const USER_OVERVIEW: &str = "/deviceManagement/deviceConfigurations/{configuration}/userStatusOverview";
const USER_OVERVIEW_REF: &str = "/deviceManagement/deviceConfigurations/{configuration}/userStatusOverview/$ref";
const SUMMARIES: &str = "/deviceManagement/deviceConfigurations/{configuration}/deviceSettingStateSummaries";
const SUMMARIES_REF: &str = "/deviceManagement/deviceConfigurations/{configuration}/deviceSettingStateSummaries/$ref";
const SUMMARY: &str = "/deviceManagement/deviceConfigurations/{configuration}/deviceSettingStateSummaries/{status}";

/// The routes of each version. The routes of a path are adjacent. When two paths match, the
/// first one is used.
#[rustfmt::skip]
pub const GRAPH_ROUTES: &[Route] = &[
    route(Method::GET, "/$metadata", Access::PublicDocument(Metadata), || to(metadata::get), operation(
        "getMetadata", "Read the model as CSDL, in XML or JSON.", Model, Answer::Csdl)).takes(options::OF_METADATA),
    route(Method::POST, BATCH, Token, || to(batch::post), operation(
        "postBatch", "Send up to 20 requests in one request.", Batch, Answer::Batch
    ).reads(Body::Batch)),
    route(Method::GET, CONFIGURATIONS, Read, || to(configurations::list), operation(
        "listDeviceConfigurations", "List configurations.", Configurations, Answer::Collection(configuration::TYPE)
    ).page("intune-deviceconfig-deviceconfiguration-list")).takes(options::OF_COLLECTION),
    route(Method::POST, CONFIGURATIONS, ReadWrite, || to(configurations::create), operation(
        "createDeviceConfiguration", "Create a configuration.", Configurations, Answer::Created(configuration::TYPE)
    ).reads(Body::New(configuration::TYPE)).conflicts().page("intune-deviceconfig-windows10customconfiguration-create")),
    route(Method::GET, CONFIGURATIONS_COUNT, Read, || to(configurations::count), operation(
        "countDeviceConfigurations", "Count configurations.", Configurations, Answer::Count)).takes(options::OF_COUNT),
    route(Method::GET, CONFIGURATION, Read, || to(configurations::get), operation(
        "getDeviceConfiguration", "Read a configuration.", Configurations, Answer::Entity(configuration::TYPE)
    ).page("intune-deviceconfig-deviceconfiguration-get")).takes(options::OF_ENTITY).with_etag(),
    route(Method::PATCH, CONFIGURATION, ReadWrite, || to(configurations::update), operation(
        "updateDeviceConfiguration", "Change a configuration. Members that the body leaves out stay unchanged.", Configurations, Answer::Changed(configuration::TYPE)
    ).reads(Body::Change(configuration::TYPE)).conflicts().page("intune-deviceconfig-windows10customconfiguration-update")).with_etag(),
    route(Method::DELETE, CONFIGURATION, ReadWrite, || to(configurations::delete), operation(
        "deleteDeviceConfiguration", "Delete a configuration and its assignments.", Configurations, Answer::Deleted
    ).page("intune-deviceconfig-windows10customconfiguration-delete")).with_etag(),
    route(Method::POST, ASSIGN, ReadWrite, || to(assign::assign), operation(
        "assignDeviceConfiguration", "Change the assignments of a configuration, or show what a change would do.", Assignments, Answer::Assigned
    ).reads(Body::Assign).conflicts().page("intune-deviceconfig-deviceconfiguration-assign")).with_etag(),
    route(Method::POST, QUALIFIED_ASSIGN, ReadWrite, || to(assign::assign), operation(
        "assignDeviceConfigurationQualified", "Change the assignments of a configuration, or show what a change would do.", Assignments, Answer::Assigned
    ).reads(Body::Assign).conflicts().page("intune-deviceconfig-deviceconfiguration-assign")).with_etag(),
    route(Method::GET, PLAIN_TEXT, ReadWrite, || to(configurations::plain_text), operation(
        "getOmaSettingPlainTextValue", "Read the secret of an OMA setting.", Configurations, Answer::PlainText
    ).page("intune-deviceconfig-deviceconfiguration-getomasettingplaintextvalue")),
    route(Method::GET, QUALIFIED_PLAIN_TEXT, ReadWrite, || to(configurations::plain_text), operation(
        "getOmaSettingPlainTextValueQualified", "Read the secret of an OMA setting.", Configurations, Answer::PlainText
    ).page("intune-deviceconfig-deviceconfiguration-getomasettingplaintextvalue")),
    route(Method::GET, ASSIGNMENTS, Read, || to(assignments::list), operation(
        "listAssignments", "List the assignments of a configuration.", Assignments, Answer::Collection(assignment::TYPE)
    ).page("intune-deviceconfig-deviceconfigurationassignment-list")).takes(options::OF_LEAVES).with_etag(),
    route(Method::POST, ASSIGNMENTS, ReadWrite, || to(assignments::create), operation(
        "createAssignment", "Assign a configuration to a target.", Assignments, Answer::Created(assignment::TYPE)
    ).reads(Body::New(assignment::TYPE)).conflicts().page("intune-deviceconfig-deviceconfigurationassignment-create")).with_etag(),
    route(Method::GET, ASSIGNMENTS_REF, Read, || to(assignments::references), operation(
        "listAssignmentReferences", "List references to the assignments of a configuration.", Assignments, Answer::References { is_paged: true }
    )).takes(options::OF_REFERENCES).with_etag(),
    route(Method::POST, ASSIGNMENTS_REF, ReadWrite, || to(assignments::create), operation(
        "createAssignmentByReference", "Assign a configuration to a target.", Assignments, Answer::Created(assignment::TYPE)
    ).reads(Body::New(assignment::TYPE)).conflicts().page("intune-deviceconfig-deviceconfigurationassignment-create")).with_etag(),
    route(Method::GET, ASSIGNMENTS_COUNT, Read, || to(assignments::count), operation(
        "countAssignments", "Count the assignments of a configuration.", Assignments, Answer::Count
    )).takes(options::OF_COUNT),
    route(Method::GET, ASSIGNMENT, Read, || to(assignments::get), operation(
        "getAssignment", "Read an assignment.", Assignments, Answer::Entity(assignment::TYPE)
    ).page("intune-deviceconfig-deviceconfigurationassignment-get")).takes(options::OF_LEAF).with_etag(),
    route(Method::PATCH, ASSIGNMENT, ReadWrite, || to(assignments::update), operation(
        "updateAssignment", "Change an assignment. Members that the body leaves out stay unchanged.", Assignments, Answer::Changed(assignment::TYPE)
    ).reads(Body::Change(assignment::TYPE)).conflicts().page("intune-deviceconfig-deviceconfigurationassignment-update")).with_etag(),
    route(Method::DELETE, ASSIGNMENT, ReadWrite, || to(assignments::delete), operation(
        "deleteAssignment", "Delete an assignment.", Assignments, Answer::Deleted
    ).page("intune-deviceconfig-deviceconfigurationassignment-delete")).with_etag(),
    route(Method::GET, GROUP_ASSIGNMENTS, Read, || to(group_assignments::list), operation(
        "listGroupAssignments", "List the group targets of a configuration.", Assignments, Answer::Collection(assignment::GROUP_ASSIGNMENT_TYPE)
    )).only_on_beta(),
    route(Method::GET, GROUP_ASSIGNMENTS_REF, Read, || to(group_assignments::references), operation(
        "listGroupAssignmentReferences", "List references to the group targets of a configuration.", Assignments, Answer::References { is_paged: false }
    )).only_on_beta(),
    route(Method::GET, GROUP_ASSIGNMENT, Read, || to(group_assignments::get), operation(
        "getGroupAssignment", "Read a group target of a configuration.", Assignments, Answer::Entity(assignment::GROUP_ASSIGNMENT_TYPE)
    )).only_on_beta(),
    route(Method::GET, DEVICE_STATUSES, Read, || to(statuses::list), operation(
        "listDeviceStatus", "List the statuses of devices.", Statuses, Answer::Collection(StatusKind::Device.type_name())
    ).page("intune-deviceconfig-deviceconfigurationdevicestatus-list")),
    route(Method::POST, DEVICE_STATUSES, ReadWrite, || to(statuses::create), operation(
        "createDeviceStatus", "Create the status of a device.", Statuses, Answer::CreatedAlways(StatusKind::Device.type_name())
    ).reads(Body::New(StatusKind::Device.type_name())).conflicts().page("intune-deviceconfig-deviceconfigurationdevicestatus-create")),
    route(Method::GET, DEVICE_STATUSES_REF, Read, || to(statuses::references), operation(
        "listDeviceStatusReferences", "List references to the statuses of devices.", Statuses, Answer::References { is_paged: false }
    )),
    route(Method::GET, DEVICE_STATUS, Read, || to(statuses::get), operation(
        "getDeviceStatus", "Read the status of a device.", Statuses, Answer::Entity(StatusKind::Device.type_name())
    ).page("intune-deviceconfig-deviceconfigurationdevicestatus-get")),
    route(Method::PATCH, DEVICE_STATUS, ReadWrite, || to(statuses::update), operation(
        "updateDeviceStatus", "Change the status of a device. Members that the body leaves out stay unchanged.", Statuses, Answer::Changed(StatusKind::Device.type_name())
    ).reads(Body::Change(StatusKind::Device.type_name())).page("intune-deviceconfig-deviceconfigurationdevicestatus-update")),
    route(Method::DELETE, DEVICE_STATUS, ReadWrite, || to(statuses::delete), operation(
        "deleteDeviceStatus", "Delete the status of a device.", Statuses, Answer::Deleted
    ).page("intune-deviceconfig-deviceconfigurationdevicestatus-delete")),
    route(Method::GET, USER_STATUSES, Read, || to(statuses::list), operation(
        "listUserStatus", "List the statuses of users.", Statuses, Answer::Collection(StatusKind::User.type_name())
    ).page("intune-deviceconfig-deviceconfigurationuserstatus-list")),
    route(Method::POST, USER_STATUSES, ReadWrite, || to(statuses::create), operation(
        "createUserStatus", "Create the status of a user.", Statuses, Answer::CreatedAlways(StatusKind::User.type_name())
    ).reads(Body::New(StatusKind::User.type_name())).conflicts().page("intune-deviceconfig-deviceconfigurationuserstatus-create")),
    route(Method::GET, USER_STATUSES_REF, Read, || to(statuses::references), operation(
        "listUserStatusReferences", "List references to the statuses of users.", Statuses, Answer::References { is_paged: false }
    )),
    route(Method::GET, USER_STATUS, Read, || to(statuses::get), operation(
        "getUserStatus", "Read the status of a user.", Statuses, Answer::Entity(StatusKind::User.type_name())
    ).page("intune-deviceconfig-deviceconfigurationuserstatus-get")),
    route(Method::PATCH, USER_STATUS, ReadWrite, || to(statuses::update), operation(
        "updateUserStatus", "Change the status of a user. Members that the body leaves out stay unchanged.", Statuses, Answer::Changed(StatusKind::User.type_name())
    ).reads(Body::Change(StatusKind::User.type_name())).page("intune-deviceconfig-deviceconfigurationuserstatus-update")),
    route(Method::DELETE, USER_STATUS, ReadWrite, || to(statuses::delete), operation(
        "deleteUserStatus", "Delete the status of a user.", Statuses, Answer::Deleted
    ).page("intune-deviceconfig-deviceconfigurationuserstatus-delete")),
    route(Method::GET, SUMMARIES, Read, || to(statuses::list), operation(
        "listSettingStateSummary", "List the summaries of settings.", Statuses, Answer::Collection(StatusKind::Setting.type_name())
    ).page("intune-deviceconfig-settingstatedevicesummary-list")),
    route(Method::POST, SUMMARIES, ReadWrite, || to(statuses::create), operation(
        "createSettingStateSummary", "Create the summary of a setting.", Statuses, Answer::CreatedAlways(StatusKind::Setting.type_name())
    ).reads(Body::New(StatusKind::Setting.type_name())).conflicts().page("intune-deviceconfig-settingstatedevicesummary-create")),
    route(Method::GET, SUMMARIES_REF, Read, || to(statuses::references), operation(
        "listSettingStateSummaryReferences", "List references to the summaries of settings.", Statuses, Answer::References { is_paged: false }
    )),
    route(Method::GET, SUMMARY, Read, || to(statuses::get), operation(
        "getSettingStateSummary", "Read the summary of a setting.", Statuses, Answer::Entity(StatusKind::Setting.type_name())
    ).page("intune-deviceconfig-settingstatedevicesummary-get")),
    route(Method::PATCH, SUMMARY, ReadWrite, || to(statuses::update), operation(
        "updateSettingStateSummary", "Change the summary of a setting. Members that the body leaves out stay unchanged.", Statuses, Answer::Changed(StatusKind::Setting.type_name())
    ).reads(Body::Change(StatusKind::Setting.type_name())).page("intune-deviceconfig-settingstatedevicesummary-update")),
    route(Method::DELETE, SUMMARY, ReadWrite, || to(statuses::delete), operation(
        "deleteSettingStateSummary", "Delete the summary of a setting.", Statuses, Answer::Deleted
    ).page("intune-deviceconfig-settingstatedevicesummary-delete")),
    route(Method::GET, DEVICE_OVERVIEW, Read, || to(statuses::overview), operation(
        "getDeviceStatusOverview", "Read the number of devices for each status, counted from the stored statuses.", Statuses, Answer::Entity("deviceConfigurationDeviceOverview")
    ).page("intune-deviceconfig-deviceconfigurationdeviceoverview-get")),
    route(Method::GET, DEVICE_OVERVIEW_REF, Read, || to(statuses::overview_reference), operation(
        "getDeviceStatusOverviewReference", "Read a reference to the status overview of devices.", Statuses, Answer::Reference
    )),
    route(Method::GET, USER_OVERVIEW, Read, || to(statuses::overview), operation(
        "getUserStatusOverview", "Read the number of users for each status, counted from the stored statuses.", Statuses, Answer::Entity("deviceConfigurationUserOverview")
    ).page("intune-deviceconfig-deviceconfigurationuseroverview-get")),
    route(Method::GET, USER_OVERVIEW_REF, Read, || to(statuses::overview_reference), operation(
        "getUserStatusOverviewReference", "Read a reference to the status overview of users.", Statuses, Answer::Reference
    )),
];

pub(super) const fn route(
    method: Method,
    path: &'static str,
    access: Access,
    handler: fn() -> Handler,
    operation: Operation,
) -> Route {
    Route { path, method, access, operation, options: options::NONE, has_etag: false, is_only_on_beta: false, handler }
}

/// Returns the route of a file of the console.
const fn console_file(path: &'static str, id: &'static str) -> Route {
    let answer = Answer::File(console::media_type(path));
    route(Method::GET, path, Open, || to(console::file), operation(id, "Get a file of the console.", Service, answer))
}

impl Route {
    /// Returns the same route with system query options.
    const fn takes(mut self, options: &'static [&'static str]) -> Self {
        self.options = options;
        self
    }

    /// Returns the same route for a resource that has an ETag.
    const fn with_etag(mut self) -> Self {
        self.has_etag = true;
        self
    }

    /// The same route, without one on `/v1.0`.
    const fn only_on_beta(mut self) -> Self {
        self.is_only_on_beta = true;
        self
    }

    /// Returns whether a version of the API has the route.
    pub fn is_on(&self, version: Version) -> bool {
        version.is_beta() || !self.is_only_on_beta
    }
}
