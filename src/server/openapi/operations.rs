//! What is said of each route that the route table cannot know: what it is
//! called, which page of Graph describes it, what it reads and what it answers.

use std::sync::LazyLock;

use crate::{
    console,
    resources::{assignments::model as assignments, configurations::model as configurations, statuses::model::Kind},
};

/// What is said of a route.
pub struct Operation {
    /// Its method; GET speaks for HEAD too.
    pub method: &'static str,
    /// Its path, as the route table has it.
    pub path: String,
    /// `operationId`, but for what tells the mounts apart.
    pub id: String,
    /// What it does, in a line.
    pub summary: String,
    /// The group that it is shown in.
    pub group: Group,
    /// The last segment of the address of Graph's page.
    pub page: Option<String>,
    /// What it reads.
    pub body: Option<Body>,
    /// What it answers when all is well.
    pub answer: Answer,
    /// Whether what is there already can be in the way.
    pub conflicts: bool,
}

/// What a request carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// A new instance of a type.
    New(&'static str),
    /// A change of one.
    Change(&'static str),
    /// The parameters of `assign`.
    Assign,
    /// Requests in one.
    Batch,
}

/// What is answered when all is well.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 200 with a page of a collection.
    Collection(&'static str),
    /// 200 with one instance.
    Entity(&'static str),
    /// 201 with the new instance, or 204 where that is preferred.
    Created(&'static str),
    /// 201 with the new instance, whatever is preferred.
    CreatedAlways(&'static str),
    /// 200 with the changed instance, or 204 where that is preferred.
    Changed(&'static str),
    /// 204
    Deleted,
    /// 200 with the whole set after `assign`.
    Assigned,
    /// 200 with the answers to a batch.
    Batch,
    /// 200 with a number as text.
    Count,
    /// 200 with a secret.
    PlainText,
    /// 200 with the model in CSDL.
    Csdl,
    /// 200 with what the service is, for people as a page.
    Welcome,
    /// 200 with the one word of a check.
    Status(&'static str),
    /// 200 with a file of this media type.
    File(&'static str),
}

impl Answer {
    /// Whether it is the same however the database is.
    pub fn is_static(self) -> bool {
        matches!(self, Self::Csdl | Self::Welcome | Self::File(_) | Self::Status("live"))
    }
}

/// Operations that are shown together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Configurations.
    Configurations,
    /// Their assignments.
    Assignments,
    /// What is reported of them.
    Statuses,
    /// The model.
    Model,
    /// Several requests in one.
    Batch,
    /// The service itself.
    Service,
}

impl Group {
    /// Every group that stands below each mount, in the order in which they are shown.
    pub const OF_GRAPH: [Self; 5] = [Self::Configurations, Self::Assignments, Self::Statuses, Self::Batch, Self::Model];

    /// Its name, and what is in it.
    pub fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::Configurations => ("configurations", "Device configurations of every type."),
            Self::Assignments => ("assignments", "Who gets a configuration, and who does not."),
            Self::Statuses => ("statuses", "What devices, users and settings report of a configuration."),
            Self::Model => ("model", "The types, as OData describes them."),
            Self::Batch => ("batch", "Several requests in one."),
            Self::Service => ("service", "What the service says of itself."),
        }
    }
}

/// What is said of all routes.
pub static ALL: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    let mut all = service();
    all.extend(of_every_resource());
    all.extend(of_configurations());
    all.extend(of_secrets());
    all.extend(of_assignments());
    all.extend([Kind::Device, Kind::User, Kind::Setting].into_iter().flat_map(of_statuses));
    all.extend(of_overviews());
    all
});

const CONFIGURATIONS: &str = "/deviceManagement/deviceConfigurations";
const CONFIGURATION: &str = "/deviceManagement/deviceConfigurations/{configuration}";

fn operation(
    method: &'static str,
    path: impl Into<String>,
    id: impl Into<String>,
    summary: impl Into<String>,
    group: Group,
    answer: Answer,
) -> Operation {
    let (path, id, summary) = (path.into(), id.into(), summary.into());
    Operation { method, path, id, summary, group, page: None, body: None, answer, conflicts: false }
}

impl Operation {
    fn reads(self, body: Body) -> Self {
        Self { body: Some(body), ..self }
    }

    fn conflicts(self) -> Self {
        Self { conflicts: true, ..self }
    }

    fn on(self, page: &str) -> Self {
        Self { page: Some(format!("intune-deviceconfig-{page}")), ..self }
    }
}

fn service() -> Vec<Operation> {
    let own = |path: &str, id: &str, summary: &str, answer| operation("GET", path, id, summary, Group::Service, answer);
    let of_console = console::FILES.iter().map(|file| {
        let id = format!("getConsole.{}", file.path.trim_start_matches("/console/"));
        own(file.path, &id, "What the console is made of.", Answer::File(file.media_type))
    });
    let described = [
        own("/", "getWelcome", "Learn what this is, and where to go; for people, the console.", Answer::Welcome),
        own("/health/live", "getLiveness", "Ask whether the process is up.", Answer::Status("live")),
        own("/health/ready", "getReadiness", "Ask whether the service is ready for requests.", Answer::Status("ready")),
        own("/metrics", "getMetrics", "Read what Prometheus is to know.", Answer::File("application/openmetrics-text")),
        own("/openapi.json", "getOpenApi", "Read this document.", Answer::File("application/json")),
        own("/docs", "getDocs", "Read this document as a page, and try it.", Answer::File("text/html")),
        own("/docs/page.js", "getDocsScript", "What starts the page.", Answer::File("text/javascript")),
        own("/docs/swagger-ui.css", "getDocsStyle", "What the page looks like.", Answer::File("text/css")),
        own("/docs/swagger-ui-bundle.js", "getDocsBundle", "What shows the page.", Answer::File("text/javascript")),
    ];
    described.into_iter().chain(of_console).collect()
}

fn of_every_resource() -> [Operation; 2] {
    let model = "Read the model in CSDL, XML or JSON.";
    let batch = "Send up to 20 requests in one; the answer to each is in the answer.";
    [
        operation("GET", "/$metadata", "getMetadata", model, Group::Model, Answer::Csdl),
        operation("POST", "/$batch", "postBatch", batch, Group::Batch, Answer::Batch).reads(Body::Batch),
    ]
}

fn of_configurations() -> Vec<Operation> {
    const TYPE: &str = configurations::TYPE;
    let of = |method, path: &str, id: &str, summary: &str, answer| {
        operation(method, path, id, summary, Group::Configurations, answer)
    };
    vec![
        of("GET", CONFIGURATIONS, "listDeviceConfigurations", "List configurations.", Answer::Collection(TYPE))
            .on("deviceconfiguration-list"),
        of("POST", CONFIGURATIONS, "createDeviceConfiguration", "Create a configuration.", Answer::Created(TYPE))
            .reads(Body::New(TYPE))
            .conflicts()
            .on("windows10customconfiguration-create"),
        of(
            "GET",
            "/deviceManagement/deviceConfigurations/$count",
            "countDeviceConfigurations",
            "Count configurations.",
            Answer::Count,
        ),
        of("GET", CONFIGURATION, "getDeviceConfiguration", "Read a configuration.", Answer::Entity(TYPE))
            .on("deviceconfiguration-get"),
        of(
            "PATCH",
            CONFIGURATION,
            "updateDeviceConfiguration",
            "Change a configuration; what is left out stays.",
            Answer::Changed(TYPE),
        )
        .reads(Body::Change(TYPE))
        .conflicts()
        .on("windows10customconfiguration-update"),
        of(
            "DELETE",
            CONFIGURATION,
            "deleteDeviceConfiguration",
            "Delete a configuration, and its assignments with it.",
            Answer::Deleted,
        )
        .on("windows10customconfiguration-delete"),
    ]
}

fn of_secrets() -> [Operation; 2] {
    let of = |segment: &str, id: &str| {
        let path = format!("{CONFIGURATION}/{segment}({{arguments}})");
        operation("GET", path, id, "Read the secret of an OMA setting.", Group::Configurations, Answer::PlainText)
            .on("deviceconfiguration-getomasettingplaintextvalue")
    };
    [
        of("getOmaSettingPlainTextValue", "getOmaSettingPlainTextValue"),
        of("microsoft.graph.getOmaSettingPlainTextValue", "getOmaSettingPlainTextValueQualified"),
    ]
}

fn of_assignments() -> Vec<Operation> {
    const TYPE: &str = assignments::TYPE;
    let of = |method, below: &str, id: &str, summary: &str, answer| {
        operation(method, format!("{CONFIGURATION}/{below}"), id, summary, Group::Assignments, answer)
    };
    let replace = "Replace all assignments of a configuration.";
    let create = |below, id| {
        of("POST", below, id, "Assign a configuration to a target.", Answer::Created(TYPE))
            .reads(Body::New(TYPE))
            .conflicts()
            .on("deviceconfigurationassignment-create")
    };
    let assign = |below, id| {
        of("POST", below, id, replace, Answer::Assigned).reads(Body::Assign).on("deviceconfiguration-assign")
    };
    vec![
        assign("assign", "assignDeviceConfiguration"),
        assign("microsoft.graph.assign", "assignDeviceConfigurationQualified"),
        of(
            "GET",
            "assignments",
            "listAssignments",
            "List the assignments of a configuration.",
            Answer::Collection(TYPE),
        )
        .on("deviceconfigurationassignment-list"),
        create("assignments", "createAssignment"),
        create("assignments/$ref", "createAssignmentByReference"),
        of("GET", "assignments/$count", "countAssignments", "Count the assignments of a configuration.", Answer::Count),
        of("GET", "assignments/{assignment}", "getAssignment", "Read an assignment.", Answer::Entity(TYPE))
            .on("deviceconfigurationassignment-get"),
        of(
            "PATCH",
            "assignments/{assignment}",
            "updateAssignment",
            "Change an assignment; what is left out stays.",
            Answer::Changed(TYPE),
        )
        .reads(Body::Change(TYPE))
        .conflicts()
        .on("deviceconfigurationassignment-update"),
        of("DELETE", "assignments/{assignment}", "deleteAssignment", "Delete an assignment.", Answer::Deleted)
            .on("deviceconfigurationassignment-delete"),
    ]
}

fn of_statuses(kind: Kind) -> [Operation; 5] {
    let (of_what, id) = match kind {
        Kind::Device => ("device", "DeviceStatus"),
        Kind::User => ("user", "UserStatus"),
        Kind::Setting => ("setting", "SettingStateSummary"),
    };
    let type_name = kind.type_name();
    let rows = format!("{CONFIGURATION}/{}", kind.segment());
    let row = format!("{rows}/{{status}}");
    let of = |method, path: &str, verb: &str, summary: String, answer| {
        let page = format!("{}-{verb}", type_name.to_lowercase());
        operation(method, path, format!("{verb}{id}"), summary, Group::Statuses, answer).on(&page)
    };
    let list = format!("List what is reported of each {of_what}.");
    let create = format!("Report of a {of_what}.");
    let get = format!("Read what is reported of a {of_what}.");
    let update = format!("Change what is reported of a {of_what}; what is left out stays.");
    let delete = format!("Delete what is reported of a {of_what}.");
    [
        of("GET", &rows, "list", list, Answer::Collection(type_name)),
        of("POST", &rows, "create", create, Answer::CreatedAlways(type_name)).reads(Body::New(type_name)).conflicts(),
        of("GET", &row, "get", get, Answer::Entity(type_name)),
        of("PATCH", &row, "update", update, Answer::Changed(type_name)).reads(Body::Change(type_name)),
        of("DELETE", &row, "delete", delete, Answer::Deleted),
    ]
}

fn of_overviews() -> [Operation; 2] {
    let of = |segment: &str, id: &str, of_what: &str, type_name, page| {
        let summary = format!("Read how many {of_what} there are of each status, counted from what is reported.");
        let path = format!("{CONFIGURATION}/{segment}");
        operation("GET", path, id, summary, Group::Statuses, Answer::Entity(type_name)).on(page)
    };
    [
        of(
            "deviceStatusOverview",
            "getDeviceStatusOverview",
            "devices",
            "deviceConfigurationDeviceOverview",
            "deviceconfigurationdeviceoverview-get",
        ),
        of(
            "userStatusOverview",
            "getUserStatusOverview",
            "users",
            "deviceConfigurationUserOverview",
            "deviceconfigurationuseroverview-get",
        ),
    ]
}
