//! The catalogue in JSON Schema, for requests and for answers.
//!
//! The component of a type is named `v1.{type}` or `beta.{type}`, with the suffix `.request`
//! for requests. An enumeration has one component, unless `/beta` adds members. The schemas leave
//! out rules that JSON Schema cannot express, such as whether an id is taken.

use serde_json::{Map, Value, json};

use super::{
    components::Components,
    members::{ANY_OBJECT, Side, closed, path, reference, text, undeclared_type, undeclared_values},
};
use crate::{
    catalogue::{Enumeration, NAMESPACE, Primitive, Property, Type, ValueType, validation::TYPE, version::Version},
    resources::{assignments::target, configurations::model as configurations},
};

/// The variant of a schema: the version and the direction.
#[derive(Clone, Copy)]
pub struct Variant {
    /// The version.
    pub version: Version,
    /// The direction.
    pub side: Side,
}

impl Variant {
    /// Returns the variant of a request.
    pub fn request(version: Version) -> Self {
        Self { version, side: Side::Request }
    }

    /// Returns the variant of an answer.
    pub fn answer(version: Version) -> Self {
        Self { version, side: Side::Answer }
    }

    /// Returns the name of a component.
    pub fn name(self, of: &str) -> String {
        let version = match self.version {
            Version::V1 => "v1",
            Version::Beta | Version::OpenBeta => "beta",
        };
        match self.side {
            Side::Request => format!("{version}.{of}.request"),
            Side::Answer => format!("{version}.{of}"),
        }
    }

    fn is_request(self) -> bool {
        self.side == Side::Request
    }
}

/// The schemas that operations refer to.
pub struct Schemas {
    /// The schemas by name.
    pub components: Components,
    /// Whether a configuration of any type has a short schema. A page takes seconds for an exact one.
    pub is_short: bool,
    /// Returns the schema of a target.
    target: fn(&mut Self, Variant) -> Value,
    /// Returns the schema of an element of the assignments that a client sends.
    element: fn(&mut Self, Variant) -> Value,
}

impl Schemas {
    /// Creates the schemas of undeclared values. `target` and `element` are those of the fields.
    pub fn new(
        is_short: bool,
        target: fn(&mut Self, Variant) -> Value,
        element: fn(&mut Self, Variant) -> Value,
    ) -> Self {
        let mut components = Components::default();
        undeclared_values().into_iter().for_each(|(name, schema)| components.insert(name, schema));
        Self { components, is_short, target, element }
    }

    /// Returns a reference to a component. Calls `make` when the component does not exist yet.
    pub fn component(&mut self, name: String, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.components.has(&name) {
            // Insert a placeholder first, because types refer to each other in cycles.
            self.components.insert(name.clone(), Value::Null);
            let made = make(self);
            self.components.insert(name.clone(), made);
        }
        reference(&name)
    }

    /// Returns the schema of a value with a declared type: an instance of this type or of a
    /// derived type or, where allowed, of a type that the catalogue lacks.
    pub fn declared(&mut self, declared: &'static Type, variant: Variant) -> Value {
        if self.is_short && declared.name == configurations::TYPE {
            return self.configuration_in_short(declared, variant);
        }
        // A row can have a type that a request must not have: an earlier release or another
        // setting stored it.
        let is_open = !variant.is_request() || variant.version == Version::OpenBeta;
        if !declared.is_abstract {
            let itself = self.object(declared, variant);
            let derived = concrete(declared, variant.version).filter(|of| of.name != declared.name);
            let derived = derived.map(
                |of| json!({"allOf": [self.object(of, variant), {"required": [TYPE], "properties": {TYPE: true}}]}),
            );
            let derived: Vec<_> = derived.collect();
            let undeclared = is_open.then(|| self.undeclared(declared, variant));
            let all: Vec<_> = [itself.clone()].into_iter().chain(derived).chain(undeclared).collect();
            return if all.len() == 1 { itself } else { json!({ "oneOf": all }) };
        }
        let known = self.component(variant.name(&declared.name), |schemas| {
            let all = schemas.alternatives(concrete(declared, variant.version), variant);
            let discriminator = discriminator(concrete(declared, variant.version), variant);
            json!({"type": "object", "required": [TYPE], "oneOf": all, "discriminator": discriminator})
        });
        match is_open {
            true => json!({"oneOf": [known, self.undeclared(declared, variant)]}),
            false => known,
        }
    }

    /// Returns a schema of a configuration of any type that has only the members of all types.
    /// Adds the schema of each type for requests, to which no operation refers.
    pub fn configuration_in_short(&mut self, base: &'static Type, variant: Variant) -> Value {
        self.component(variant.name(&base.name), |schemas| {
            for of in concrete(base, variant.version) {
                schemas.object(of, Variant::request(variant.version));
            }
            let names: Vec<_> = concrete(base, variant.version).map(|of| format!("#{NAMESPACE}.{}", of.name)).collect();
            let mut properties = schemas.properties(base, variant);
            properties.insert(TYPE.to_owned(), json!({"type": "string", "enum": names}));
            let about = "The members that all types have. The members of each type are listed under Schemas.";
            json!({"type": "object", "description": about, "properties": properties})
        })
    }

    /// Returns the schemas of objects of these types.
    pub fn alternatives(&mut self, types: impl Iterator<Item = &'static Type>, variant: Variant) -> Vec<Value> {
        types.map(|of| self.object(of, variant)).collect()
    }

    /// Returns the schema of an object of exactly this type.
    pub fn object(&mut self, of: &'static Type, variant: Variant) -> Value {
        let name = variant.name(&of.name);
        let reference = self.component(name.clone(), |schemas| {
            let mut properties = schemas.properties(of, variant);
            let all: Vec<_> = properties.keys().cloned().collect();
            properties.insert(TYPE.to_owned(), type_names(of, variant));
            let is_configuration = of.is_a(configurations::TYPE);
            let is_entity = of.is_a("entity");
            let required = match variant.side {
                Side::Request => Vec::new(),
                // `$select` can leave out the other members.
                Side::Answer if is_configuration || of.name == crate::resources::assignments::model::TYPE => {
                    vec![TYPE.to_owned()]
                }
                Side::Answer => all.into_iter().chain(is_entity.then(|| TYPE.to_owned())).collect(),
            };
            if is_entity && !variant.is_request() {
                properties.insert("@odata.context".to_owned(), json!({"type": "string", "format": "uri"}));
            }
            if is_configuration && !variant.is_request() {
                let about =
                    "Sent when `Accept` asks for `odata.metadata=minimal` or `full`, or with `OData-MaxVersion`.";
                properties.insert("@odata.etag".to_owned(), json!({"type": "string", "description": about}));
            }
            let is_open = variant.version.is_beta() && (is_configuration || !is_entity && !is_assigned(of));
            let mut object = closed(properties, required, is_open, variant.side);
            if is_configuration {
                schemas.with_navigation(&mut object, of, variant);
            }
            object
        });
        // `bodies.rs` changes the schemas of assignments and targets.
        if of.is_a(configurations::TYPE) || !of.is_a("entity") && !is_assigned(of) {
            self.components.keep_text(&name);
        }
        reference
    }

    fn properties(&mut self, of: &'static Type, variant: Variant) -> Map<String, Value> {
        let mut properties: Map<_, _> = of
            .properties(variant.version)
            .map(|property| (property.name.clone(), self.property(property, variant)))
            .collect();
        if properties.contains_key("id") {
            // In a change, the service ignores the id.
            let id = if variant.is_request() { or_null(text()) } else { json!({"type": "string", "format": "uuid"}) };
            properties.insert("id".to_owned(), id);
        }
        if variant.is_request() && of.is_a(configurations::TYPE) {
            let computed = configurations::COMPUTED.into_iter().filter_map(|name| of.property(name, Version::Beta));
            for property in computed {
                let mut schema = or_null(self.property(property, variant));
                schema["readOnly"] = true.into();
                properties.insert(property.name.clone(), schema);
            }
        }
        properties
    }

    fn property(&mut self, property: &'static Property, variant: Variant) -> Value {
        let one = self.value(property, variant);
        if property.is_collection {
            let mut all = json!({"type": "array", "items": one});
            if let Some(max_items) = property.limits.max_items {
                all["maxItems"] = max_items.into();
            }
            return if variant.is_request() && property.is_nullable { or_null(all) } else { all };
        }
        // An assignment always has a target, although the model says otherwise.
        let is_target = matches!(&property.value_type, ValueType::Complex(id) if id.get().name == target::TYPE);
        if property.allows_null() && !is_target { or_null(one) } else { one }
    }

    fn value(&mut self, property: &'static Property, variant: Variant) -> Value {
        match &property.value_type {
            ValueType::Complex(id) if id.get().name == target::TYPE => (self.target)(self, variant),
            ValueType::Complex(id) => self.declared(id.get(), variant),
            ValueType::Enumeration(of) => {
                // A client of `/beta` can store a member that `/v1.0` does not have. An answer of
                // `/v1.0` shows it.
                let is_limited = variant.is_request() && !variant.version.is_beta();
                let is_smaller = is_limited && of.all.iter().any(|member| member.is_beta);
                let name = if is_smaller { variant.name(&of.name) } else { of.name.clone() };
                let version = if is_limited { Version::V1 } else { Version::Beta };
                self.component(name, |_| enumeration(of, version))
            }
            ValueType::Primitive(Primitive::Boolean) => json!({"type": "boolean"}),
            ValueType::Primitive(Primitive::Int32) => integer(property, "int32", i32::MIN.into(), i32::MAX.into()),
            ValueType::Primitive(Primitive::Int64) => integer(property, "int64", i64::MIN, i64::MAX),
            ValueType::Primitive(Primitive::String) => text(),
            ValueType::Primitive(primitive) => {
                let name = format!("Edm.{primitive:?}{}", if variant.is_request() { ".request" } else { "" });
                self.component(name, |_| written(*primitive, variant))
            }
        }
    }

    /// Returns the schema of an instance of a type that the catalogue lacks.
    pub fn undeclared(&mut self, declared: &'static Type, variant: Variant) -> Value {
        let name = self.component(variant.name("undeclaredType"), |_| undeclared_type(variant.version));
        if !declared.is_a(configurations::TYPE) {
            return self.component(variant.name("undeclared"), |_| {
                let properties = Map::from_iter([(TYPE.to_owned(), name)]);
                let any = reference(ANY_OBJECT);
                json!({"type": "object", "allOf": [any], "properties": properties, "required": [TYPE]})
            });
        }
        self.component(variant.name("undeclaredConfiguration"), |schemas| {
            let mut properties = schemas.properties(declared, variant);
            properties.insert(TYPE.to_owned(), name);
            if !variant.is_request() {
                properties.insert("@odata.context".to_owned(), json!({"type": "string", "format": "uri"}));
            }
            let mut object = closed(properties, vec![TYPE.to_owned()], variant.version.is_beta(), variant.side);
            schemas.with_navigation(&mut object, declared, variant);
            object
        })
    }

    /// Adds the resources below a configuration. A request or an answer can contain the
    /// assignments, but not the others.
    fn with_navigation(&mut self, object: &mut Value, of: &Type, variant: Variant) {
        let properties = &mut object["properties"];
        if !variant.is_request() {
            let one = reference(&variant.name(crate::resources::assignments::model::TYPE));
            properties["assignments"] = json!({"type": "array", "items": one});
            return;
        }
        for navigation in of.navigation.iter().filter(|navigation| navigation.is_in(variant.version)) {
            let empty = json!({"type": "array", "maxItems": 0});
            properties[&navigation.name] = if navigation.is_collection { empty } else { false.into() };
        }
        // Another request sets them.
        properties["groupAssignments"] = false.into();
        properties["assignments"] = or_null(json!({"type": "array", "items": (self.element)(self, variant)}));
    }
}

/// Returns the concrete types of a version for values with this declared type.
pub fn concrete(declared: &'static Type, version: Version) -> impl Iterator<Item = &'static Type> {
    Type::all().iter().filter(move |of| !of.is_abstract && of.is_in(version) && of.is_a(&declared.name))
}

/// Returns the discriminator, which selects a schema by the name of the type.
pub fn discriminator(types: impl Iterator<Item = &'static Type>, variant: Variant) -> Value {
    let mapping: Map<_, _> = types
        .flat_map(|of| {
            let Value::Array(names) = names(of, variant) else { return Vec::new() };
            let names = names.into_iter().filter_map(|name| name.as_str().map(str::to_owned));
            names.map(|name| (name, path(&variant.name(&of.name)).into())).collect()
        })
        .collect();
    json!({"propertyName": TYPE, "mapping": mapping})
}

fn names(of: &Type, variant: Variant) -> Value {
    let name = format!("{NAMESPACE}.{}", of.name);
    match variant.side {
        Side::Request => json!([format!("#{name}"), name]),
        // As in the documented example.
        Side::Answer if of.name == target::TYPE => json!([name]),
        Side::Answer => json!([format!("#{name}")]),
    }
}

fn type_names(of: &Type, variant: Variant) -> Value {
    json!({"type": "string", "enum": names(of, variant)})
}

/// Returns whether the type is part of an assignment, which has a column for every member.
fn is_assigned(of: &Type) -> bool {
    of.is_a(target::TYPE)
}

/// Returns the schema of an integer between `least` and `most`, or between the narrower limits
/// of the property.
fn integer(property: &Property, format: &str, least: i64, most: i64) -> Value {
    let minimum = property.limits.minimum.unwrap_or(least);
    let maximum = property.limits.maximum.unwrap_or(most);
    let integer = json!({"type": "integer", "format": format, "minimum": minimum, "maximum": maximum});
    match minimum > 0 && property.allows(0) {
        true => json!({"anyOf": [integer, {"const": 0}]}),
        false => integer,
    }
}

fn enumeration(of: &Enumeration, version: Version) -> Value {
    let names: Vec<_> = of.members(version).map(|member| member.name.as_str()).collect();
    match of.is_flags {
        false => json!({"type": "string", "enum": names}),
        true => {
            let one = names.join("|");
            let about = format!("One or more of {}, separated by commas.", of.names(version));
            json!({"type": "string", "description": about, "pattern": format!("^(?:{one})(?:, *(?:{one}))*$")})
        }
    }
}

/// Returns the schema of a primitive type whose text has a fixed format.
fn written(primitive: Primitive, variant: Variant) -> Value {
    let pattern = |format: &str, request: &str, answer: &str| {
        let pattern = if variant.is_request() { request } else { answer };
        match format {
            "" => json!({"type": "string", "pattern": pattern}),
            format => json!({"type": "string", "format": format, "pattern": pattern}),
        }
    };
    match primitive {
        Primitive::Binary => {
            let mut binary = pattern(
                "",
                r"^[\t\n\f\r ]*(?:(?:[A-Za-z0-9+/_-][\t\n\f\r ]*){4})*(?:(?:[A-Za-z0-9+/_-][\t\n\f\r ]*){2}(?:=[\t\n\f\r ]*=[\t\n\f\r ]*)?|(?:[A-Za-z0-9+/_-][\t\n\f\r ]*){3}(?:=[\t\n\f\r ]*)?)?$",
                "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
            );
            binary["contentEncoding"] = "base64".into();
            binary
        }
        Primitive::Date => pattern("date", "^(?!0000)[0-9]{4}-", "^[0-9]{4}-"),
        Primitive::DateTimeOffset => pattern(
            "date-time",
            r"^(?!0000|0001-01-01|9999-12-31)[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:]{6}[0-5][0-9](?:\.[0-9]+)?(?:[Zz]|[+-][0-9:]{5})$|^(?:0001-01-01|9999-12-31)[Tt][0-9:]{6}[0-5][0-9](?:\.[0-9]+)?[Zz]$",
            r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]{1,7})?Z$",
        ),
        Primitive::TimeOfDay => pattern(
            "",
            r"^(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]+)?)?$",
            r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{7}$",
        ),
        Primitive::Double => json!({"anyOf": [
            {"type": "number"},
            {"type": "string", "enum": ["INF", "-INF", "NaN"]},
        ]}),
        _ => json!({"anyOf": [
            {"type": "number", "minimum": -f64::from(f32::MAX), "maximum": f64::from(f32::MAX)},
            {"type": "string", "enum": ["INF", "-INF", "NaN"]},
        ]}),
    }
}

/// Returns the schema extended by null.
pub fn or_null(mut schema: Value) -> Value {
    match (schema["type"].as_str().map(str::to_owned), schema.get("enum")) {
        (Some(of), None) => {
            schema["type"] = json!([of, "null"]);
            schema
        }
        _ => json!({"anyOf": [schema, {"type": "null"}]}),
    }
}
