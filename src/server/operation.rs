//! The documentation of a route in `/openapi.json`, except its path and method.

/// The documentation of a route.
#[derive(Clone, Copy)]
pub struct Operation {
    /// `operationId`, without the version.
    pub id: &'static str,
    /// The summary, in one line.
    pub summary: &'static str,
    /// The tag.
    pub tag: Tag,
    /// The last segment of the URL of Graph's page.
    pub page: Option<&'static str>,
    /// The request body.
    pub body: Option<Body>,
    /// The successful answer.
    pub answer: Answer,
    /// Whether the operation can be 409.
    pub conflicts: bool,
}

/// Returns an operation without a body, without conflicts and without a page of Graph.
pub const fn operation(id: &'static str, summary: &'static str, tag: Tag, answer: Answer) -> Operation {
    Operation { id, summary, tag, page: None, body: None, answer, conflicts: false }
}

impl Operation {
    /// Returns the same operation with a request body.
    pub const fn reads(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    /// Returns the same operation, which can be 409.
    pub const fn conflicts(mut self) -> Self {
        self.conflicts = true;
        self
    }

    /// Returns the same operation with a page of Graph.
    pub const fn page(mut self, page: &'static str) -> Self {
        self.page = Some(page);
        self
    }
}

/// The body of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// A new instance of a type.
    New(&'static str),
    /// A change of an instance.
    Change(&'static str),
    /// The parameters of `assign`.
    Assign,
    /// A batch of requests.
    Batch,
}

/// A successful answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 200 with a page of a collection.
    Collection(&'static str),
    /// 200 with references to the instances of a collection, or to a page of them.
    References {
        /// Whether there are pages, and an ETag of the collection.
        is_paged: bool,
    },
    /// 200 with a reference to one instance.
    Reference,
    /// 200 with one instance.
    Entity(&'static str),
    /// 201 with the new instance, or 204 when the client prefers that.
    Created(&'static str),
    /// 201 with the new instance, also when the client prefers 204.
    CreatedAlways(&'static str),
    /// 200 with the changed instance, or 204 when the client prefers that. On `/beta`, a
    /// configuration is 204 unless the client prefers the instance.
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
    /// 200 with the name of the service, or the console for a browser.
    Welcome,
    /// 200 with the status of a health check.
    Status(&'static str),
    /// 200 with a file of this media type.
    File(&'static str),
}

impl Answer {
    /// Returns whether the answer does not depend on the database.
    pub fn is_static(self) -> bool {
        matches!(self, Self::Csdl | Self::Welcome | Self::File(_) | Self::Status("live"))
    }
}

/// A group of operations in the documentation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// Configurations.
    Configurations,
    /// Their assignments.
    Assignments,
    /// The statuses of configurations.
    Statuses,
    /// The model.
    Model,
    /// Several requests in one.
    Batch,
    /// The service itself.
    Service,
}

impl Tag {
    /// The tags of each mount, in the order of the documentation.
    pub const OF_GRAPH: [Self; 5] = [Self::Configurations, Self::Assignments, Self::Statuses, Self::Batch, Self::Model];

    /// Returns the name and the description of the tag.
    pub fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::Configurations => ("configurations", "Device configurations of every type."),
            Self::Assignments => {
                ("assignments", "The targets that get a configuration, and the targets that are excluded from it.")
            }
            Self::Statuses => ("statuses", "The statuses of devices, users and settings for a configuration."),
            Self::Model => ("model", "The types of the API, described in CSDL."),
            Self::Batch => ("batch", "Several requests in one request."),
            Self::Service => ("service", "Health, metrics, documentation and the console."),
        }
    }
}
