//! What `/openapi.json` says of a route that its path and method do not say.

/// The documentation of a route.
#[derive(Clone, Copy)]
pub struct Operation {
    /// `operationId`, without the version.
    pub id: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The tag that it is shown under.
    pub tag: Tag,
    /// The last segment of the address of Graph's page.
    pub page: Option<&'static str>,
    /// What it reads.
    pub body: Option<Body>,
    /// What it answers when all is well.
    pub answer: Answer,
    /// Whether something that exists already can conflict with it.
    pub conflicts: bool,
}

/// An operation that reads no body, conflicts with nothing and has no page of Graph.
pub const fn operation(id: &'static str, summary: &'static str, tag: Tag, answer: Answer) -> Operation {
    Operation { id, summary, tag, page: None, body: None, answer, conflicts: false }
}

impl Operation {
    /// The same operation, with a request body.
    pub const fn reads(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    /// The same operation, which can be 409.
    pub const fn conflicts(mut self) -> Self {
        self.conflicts = true;
        self
    }

    /// The same operation, as a page of Graph describes it.
    pub const fn page(mut self, page: &'static str) -> Self {
        self.page = Some(page);
        self
    }
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
pub enum Tag {
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

impl Tag {
    /// Every tag that stands below each mount, in the order in which they are shown.
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
