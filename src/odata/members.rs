//! Reads the members of a JSON object one by one as typed values.
//!
//! A parser takes the members that it knows and then calls [`ObjectReader::reject_unread`],
//! which refuses all others. So the service never silently drops a member that a client sent,
//! except control information without effect; see [`member_names`].

use serde_json::{Map, Value};

use crate::{
    catalogue::{member_names, messages, spelling, version::Version},
    error::{ApiError, shorten},
};

/// A JSON object that is being read as a value of `type_name`.
#[derive(Debug)]
pub struct ObjectReader {
    path: String,
    type_name: &'static str,
    version: Version,
    values: Map<String, Value>,
    /// The names that the parser asked for, which a refusal can suggest.
    known: Vec<&'static str>,
}

impl ObjectReader {
    /// Creates a reader for the object at `path` of the body. The path of the whole body is
    /// empty.
    pub fn new(values: Map<String, Value>, path: String, type_name: &'static str, version: Version) -> Self {
        Self { path, type_name, version, values, known: Vec::new() }
    }

    /// Returns the version of the request.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the path of the member `name` in the body, for messages.
    pub fn path(&self, name: &str) -> String {
        match self.path.is_empty() {
            true => name.to_owned(),
            false => format!("{}.{name}", self.path),
        }
    }

    /// Takes the member `name`, of any type.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.values.remove(name)
    }

    /// Returns whether the object has the member `name`.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Takes an optional `Edm.String` that must not be null.
    ///
    /// # Errors
    /// 400 for another type, and for null.
    pub fn string(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.mismatch(name, &other, "Edm.String")),
        }
    }

    /// Takes an optional `Edm.String`. Returns `None` when it is absent and `Some(None)` when
    /// it is null.
    ///
    /// # Errors
    /// 400 for another type.
    pub fn nullable_string(&mut self, name: &'static str) -> Result<Option<Option<String>>, ApiError> {
        if self.values.get(name).is_some_and(Value::is_null) {
            self.take(name);
            return Ok(Some(None));
        }
        Ok(self.string(name)?.map(Some))
    }

    /// Takes a member of an enumeration.
    ///
    /// # Errors
    /// 400 for another type, and for a name that is not in `names`.
    pub fn one_of<const N: usize>(
        &mut self,
        name: &'static str,
        names: [&'static str; N],
    ) -> Result<Option<&'static str>, ApiError> {
        let Some(text) = self.string(name)? else { return Ok(None) };
        match names.into_iter().find(|known| *known == text) {
            Some(known) => Ok(Some(known)),
            None => Err(ApiError::model(format!(
                "The value '{}' of '{}' is not one of {}.",
                shorten(&text),
                self.path(name),
                names.join(", "),
            ))),
        }
    }

    /// Takes an optional `Edm.Boolean` that must not be null.
    ///
    /// # Errors
    /// 400 for another type, and for null.
    pub fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(self.mismatch(name, &other, "Edm.Boolean")),
        }
    }

    /// Takes an object, to be read as `type_name`.
    ///
    /// # Errors
    /// 400 for another type, and for null.
    pub fn object(&mut self, name: &'static str, type_name: &'static str) -> Result<Option<Self>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        Self::nested(self.path(name), value, type_name, self.version).map(Some)
    }

    /// Takes an array of objects, each to be read as `type_name`. Returns `None` for null, too. A
    /// reader is made when its turn comes, because the readers of many small objects need much
    /// memory.
    ///
    /// # Errors
    /// 400 for another type, of the array or of an element.
    pub fn objects(
        &mut self,
        name: &'static str,
        type_name: &'static str,
    ) -> Result<Option<impl Iterator<Item = Result<Self, ApiError>> + use<>>, ApiError> {
        let elements = match self.take(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(elements)) => elements,
            Some(other) => {
                return Err(self.mismatch(name, &other, &format!("Collection(microsoft.graph.{type_name})")));
            }
        };
        let (path, version) = (self.path(name), self.version);
        let element = move |(index, value)| Self::nested(format!("{path}[{index}]"), value, type_name, version);
        Ok(Some(elements.into_iter().enumerate().map(element)))
    }

    fn nested(path: String, value: Value, type_name: &'static str, version: Version) -> Result<Self, ApiError> {
        match value {
            Value::Object(values) => Ok(Self::new(values, path, type_name, version)),
            other => Err(messages::no_object(&other, type_name, path)),
        }
    }

    fn mismatch(&self, name: &str, value: &Value, expected: &str) -> ApiError {
        messages::mismatch(value, expected, self.path(name))
    }

    /// Sets the type of this object, which messages name, once the type is known.
    pub fn set_type(&mut self, type_name: &'static str) {
        self.type_name = type_name;
    }

    /// Returns the members that were not read, without control information.
    ///
    /// # Errors
    /// 400 for a name that no property can have.
    pub fn rest(mut self) -> Result<Map<String, Value>, ApiError> {
        self.remove_control_information()?;
        Ok(self.values)
    }

    fn remove_control_information(&mut self) -> Result<(), ApiError> {
        let path = |name: &str| match self.path.is_empty() {
            true => shorten(name),
            false => format!("{}.{}", self.path, shorten(name)),
        };
        member_names::remove_control_information(&mut self.values, path)
    }

    /// Refuses the object when it has members that were not read.
    ///
    /// # Errors
    /// 400 with Graph's message, which names a member that was not read.
    pub fn reject_unread(mut self) -> Result<(), ApiError> {
        self.remove_control_information()?;
        match self.values.keys().next() {
            Some(name) => Err(self.unknown(name)),
            None => Ok(()),
        }
    }

    fn unknown(&self, name: &str) -> ApiError {
        let known = self.known.iter().copied().filter(|known| member_names::is_identifier(known));
        messages::unknown(name, self.type_name, known, &self.path)
    }

    /// Returns the 400 for the first annotation that is misspelt or that asks for something. When a
    /// needed member is missing, such an annotation is often the cause.
    pub fn refused_annotation(&self) -> Option<ApiError> {
        let name = member_names::first_refused(&self.values)?;
        Some(member_names::refusal(name, self.path(name)))
    }

    /// Returns the 400 for a member that the object needs and does not have. It names a misspelt
    /// one.
    pub fn missing(&self, name: &str, reason: &str) -> ApiError {
        if let Some(refusal) = self.refused_annotation() {
            return refusal;
        }
        match self.values.keys().find(|unread| spelling::is_near_miss(unread, name)) {
            Some(misspelt) => messages::unknown(misspelt, self.type_name, [name], &self.path),
            None => ApiError::model(format!("The member '{}' is missing{reason}", self.path(name))),
        }
    }

    /// Adds the path of this object to Graph's messages, which name no path.
    ///
    /// # Errors
    /// That of `result`.
    pub fn located<T>(&self, result: Result<T, ApiError>) -> Result<T, ApiError> {
        result.map_err(|refusal| self.locate(refusal))
    }

    fn locate(&self, refusal: ApiError) -> ApiError {
        match self.path.is_empty() {
            true => refusal,
            false => messages::located(refusal, &self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(value: Value) -> ObjectReader {
        let Value::Object(values) = value else { panic!("an object") };
        ObjectReader::new(values, String::new(), "deviceConfigurationAssignment", Version::V1)
    }

    #[test]
    fn control_information_may_stay_and_other_members_may_not() {
        let annotated = json!({"@odata.etag": "x", "target@odata.type": "y", "@microsoft.graph.tips": "z", "#microsoft.graph.assign": {}});
        assert!(members(annotated).reject_unread().is_ok());
        for (name, expected) in [
            ("@type", "The member '@type' is misspelt. Write '@odata.type'."),
            ("x@y", "The annotation 'x@y' is unknown."),
            ("", "The member '' has a name that no property can have."),
            ("targets", "The property 'targets' does not exist"),
        ] {
            let refusal = members(json!({ name: 1 })).reject_unread().expect_err(name).to_string();
            assert!(refusal.starts_with(expected), "{refusal}");
        }
    }

    #[test]
    fn a_misspelt_member_is_named_with_its_path() {
        let mut outer = members(json!({"assignments": [{"Target": {}, "targett": {}}]}));
        let mut elements =
            outer.objects("assignments", "deviceConfigurationAssignment").expect("an array").expect("there");
        let mut element = elements.next().expect("an element").expect("an object");
        assert!(element.object("target", "groupAssignmentTarget").expect("no error").is_none());
        let missing = element.missing("target", ".").to_string();
        assert!(missing.ends_with(" 'assignments[0].Target' is misspelt. Write 'assignments[0].target'."), "{missing}");
        let unread = element.reject_unread().expect_err("two members").to_string();
        assert_eq!(unread, missing);
    }

    #[test]
    fn a_mismatch_names_the_path_of_the_member() {
        let mut outer = members(json!({"assignments": [{"target": {"groupId": 5}}]}));
        let mut elements =
            outer.objects("assignments", "deviceConfigurationAssignment").expect("an array").expect("there");
        let mut element = elements.next().expect("an element").expect("an object");
        let mut target = element.object("target", "groupAssignmentTarget").expect("an object").expect("there");
        let refusal = target.string("groupId").expect_err("a number").to_string();
        assert_eq!(
            refusal,
            "Cannot convert the literal '5' to the expected type 'Edm.String' for the member 'assignments[0].target.groupId'."
        );
    }
}
