//! The value at the end of a path, as SQL.
//!
//! An unset property has the value that a client reads: `false`, `0`, the first member of an
//! enumeration. A cast to a type that the entity does not have yields null. A property of null
//! is null.

use super::{
    operand::{Kind, Operand},
    table::{EntityTable, Parameter, Parameters, PropertyColumn},
};
use crate::{
    catalogue::{Enumeration, NAMESPACE, NamedType, Primitive, Property, Type, ValueType, version::Version},
    error::ApiError,
};

/// An object: a row, a part of a row, or an object in a `jsonb` value.
#[derive(Clone)]
pub struct Instance {
    /// The type that the object is known to have. It may have a derived type.
    pub of: &'static Type,
    pub(super) place: Place,
    /// The condition under which the object exists and has the type `of`.
    guard: Option<String>,
}

#[derive(Clone)]
pub(super) enum Place {
    /// A row of a table, and its alias in the statement.
    Row(&'static EntityTable, String),
    /// The SQL of a JSON object, and its type when the JSON does not name one.
    Json(String, &'static Type),
}

/// The value at the end of a path.
pub enum Value {
    /// A value that can be compared.
    Scalar(Operand),
    /// An object.
    Instance(Instance),
    /// The elements of a `jsonb` array, objects or scalars.
    Elements(String, &'static Property, Option<String>),
    /// Rows of another table.
    Rows(&'static EntityTable, &'static str),
}

/// A property of an object, or of the derived types that it may have.
struct Found {
    property: &'static Property,
    /// The condition that the object has one of these types.
    guard: Option<String>,
    /// The condition that an unset value reads as the default of its type and not as null. `None`
    /// when the property is nullable in all of the types, or in none.
    has_default: Option<String>,
}

/// The maximum number of casts that a message names.
const MAX_CASTS: usize = 6;

/// Returns 400 for a property that has several types. The message names a cast for each.
fn several_types(name: &str, having: &[(&Type, &Property)]) -> ApiError {
    let mut casts: Vec<(&Property, String)> = Vec::new();
    for (of, property) in having {
        if !casts.iter().any(|(known, _)| known.has_type_of(property)) {
            casts.push((property, format!("'{NAMESPACE}.{}/{name}'", of.name)));
        }
    }
    let casts: Vec<_> = casts.into_iter().take(MAX_CASTS).map(|(_, cast)| cast).collect();
    ApiError::bad_request(format!(
        "The property '{name}' has different types in different types of configurations. Write the type of the configuration before the property: {}.",
        casts.join(", "),
    ))
}

fn and_guards(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(format!("({one} AND {other})")),
        (one, other) => one.or(other),
    }
}

/// Puts the alias of a row into the SQL of a table's description.
fn with_alias(sql: &str, alias: &str) -> String {
    sql.replace('%', alias)
}

/// Returns a constant of the catalogue as an SQL literal.
fn sql_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Instance {
    /// Returns a row of a table.
    ///
    /// # Errors
    /// 500 when the catalogue lacks the type.
    pub fn row(table: &'static EntityTable, alias: &str) -> Result<Self, ApiError> {
        let of = Type::find(table.of).ok_or_else(|| ApiError::internal(anyhow::anyhow!("no type {}", table.of)))?;
        Ok(Self { of, place: Place::Row(table, alias.to_owned()), guard: None })
    }

    /// Returns the value of a property. Letter case does not count in `name`.
    ///
    /// # Errors
    /// 400 that names a property that does not exist, or the several that `name` can be.
    pub fn property(&self, name: &str, version: Version) -> Result<Value, ApiError> {
        let name = self.spelled(name, version)?;
        let column = match &self.place {
            Place::Row(table, _) => {
                table.columns.iter().find(|(property, _)| *property == name).map(|(_, column)| column)
            }
            Place::Json(..) => None,
        };
        if let Some(PropertyColumn::Rows(table, join)) = column {
            return Ok(Value::Rows(table, join));
        }
        let found = match self.of.property(name, version) {
            Some(property) => Found { property, guard: None, has_default: None },
            None => self.derived_property(name, version)?,
        };
        let guard = and_guards(self.guard.clone(), found.guard.clone());
        match column {
            Some(column) => self.column(found.property, column, version, guard),
            None => self.in_json(&found, version, guard),
        }
    }

    /// Finds a property of derived types, if it has the same type in all of them.
    ///
    /// # Errors
    /// 400 that names the casts, when it has several types.
    fn derived_property(&self, name: &str, version: Version) -> Result<Found, ApiError> {
        let having: Vec<_> = self.types().filter_map(|found| Some((found, found.property(name, version)?))).collect();
        let Some(&(_, property)) = having.first() else {
            return Err(self.unknown(name, version));
        };
        if having.iter().any(|(_, other)| !property.has_type_of(other)) {
            return Err(several_types(name, &having));
        }
        let in_types = |is_wanted: &dyn Fn(&Property) -> bool| {
            let wanted = having.iter().filter(|(_, property)| is_wanted(property));
            let names: Vec<_> = wanted.map(|(found, _)| sql_literal(&found.name)).collect();
            self.type_in_sql(&names.join(", "))
        };
        let is_mixed = having.iter().any(|(_, other)| other.is_nullable != property.is_nullable);
        let has_default = is_mixed.then(|| in_types(&|property| !property.is_nullable));
        Ok(Found { property, guard: Some(in_types(&|_| true)), has_default })
    }

    /// Casts the object to a derived type.
    ///
    /// # Errors
    /// 400 for a type that is unknown or not derived from the object's type.
    pub fn cast(&self, name: &str, version: Version, parameters: &mut Parameters) -> Result<Self, ApiError> {
        let (of, guard) = self.type_condition(name, version, parameters)?;
        Ok(Self { of: of.unwrap_or(self.of), place: self.place.clone(), guard: and_guards(self.guard.clone(), guard) })
    }

    /// Returns the condition that the object has a type, or `None` when it always has. On
    /// `/beta`, the catalogue may lack the type.
    ///
    /// # Errors
    /// 400 for a type that is unknown or not derived from the object's type.
    pub fn type_condition(
        &self,
        name: &str,
        version: Version,
        parameters: &mut Parameters,
    ) -> Result<(Option<&'static Type>, Option<String>), ApiError> {
        let of = match self.named_type(name, version)? {
            NamedType::Declared(of) => of,
            NamedType::Undeclared(name) => {
                let name = parameters.add(Parameter::Text(name.to_owned()));
                return Ok((None, Some(self.type_in_sql(&name))));
            }
        };
        if of.name == self.of.name {
            return Ok((Some(of), None));
        }
        let names = Type::all().iter().filter(|found| found.is_a(&of.name)).map(|found| sql_literal(&found.name));
        Ok((Some(of), Some(self.type_in_sql(&names.collect::<Vec<_>>().join(", ")))))
    }

    /// Returns the condition under which the object exists.
    pub fn guard(&self) -> Option<String> {
        self.guard.clone()
    }

    /// Removes the guard and returns it. From then on, the object is assumed to exist.
    pub fn take_guard(&mut self) -> Option<String> {
        self.guard.take()
    }

    fn type_in_sql(&self, names: &str) -> String {
        match &self.place {
            Place::Row(table, alias) => match (table.odata_type.map(|sql| with_alias(sql, alias)), names.contains(','))
            {
                (Some(column), false) => format!("{column} = {names}"),
                (Some(column), true) => format!("{column} IN ({names})"),
                (None, _) => "false".to_owned(),
            },
            Place::Json(sql, declared) => {
                let declared = sql_literal(&declared.name);
                format!("COALESCE(substr({sql} ->> '@odata.type', 18), {declared}) IN ({names})")
            }
        }
    }

    fn column(
        &self,
        property: &'static Property,
        column: &'static PropertyColumn,
        version: Version,
        guard: Option<String>,
    ) -> Result<Value, ApiError> {
        let alias = match &self.place {
            Place::Row(_, alias) => alias.as_str(),
            Place::Json(..) => return Err(self.without_column(property)),
        };
        let (kind, sql, is_nullable) = match *column {
            PropertyColumn::Id(sql) => (Kind::Id, sql, false),
            PropertyColumn::Text(sql)
            | PropertyColumn::LongText(sql, _)
            | PropertyColumn::NullableText(sql)
            | PropertyColumn::Identifier(sql) => {
                let kind = match &property.value_type {
                    ValueType::Enumeration(of) => Kind::Name(of, version),
                    _ => Kind::Text,
                };
                (kind, sql, matches!(column, PropertyColumn::NullableText(_) | PropertyColumn::Identifier(_)))
            }
            PropertyColumn::Number(sql) => (Kind::Number, sql, false),
            PropertyColumn::Time(sql) => (Kind::Time, sql, false),
            PropertyColumn::True => (Kind::Boolean, "(%.id IS NOT NULL)", false),
            PropertyColumn::Part(table) => {
                return Ok(Value::Instance(Self { guard, ..Self::row(table, alias)? }));
            }
            PropertyColumn::Rows(table, join) => return Ok(Value::Rows(table, join)),
        };
        let name = property.name.clone();
        // After a cast, the value may be null where the column is not, and no index helps.
        let indexed_prefix = match *column {
            PropertyColumn::LongText(_, indexed_prefix) if guard.is_none() => Some(with_alias(indexed_prefix, alias)),
            _ => None,
        };
        Ok(Value::Scalar(Operand {
            name,
            kind,
            sql: with_alias(sql, alias),
            is_nullable,
            guard,
            is_cut: false,
            indexed_prefix,
            is_identifier: matches!(column, PropertyColumn::Identifier(_)),
        }))
    }

    /// 500 for a property of the catalogue that the description of the table lacks.
    fn without_column(&self, property: &Property) -> ApiError {
        ApiError::internal(anyhow::anyhow!("no column for '{}' of '{}'", property.name, self.of.name))
    }

    fn in_json(&self, found: &Found, version: Version, guard: Option<String>) -> Result<Value, ApiError> {
        let property = found.property;
        let container = match &self.place {
            Place::Row(table, alias) => match table.properties {
                Some(properties) => with_alias(properties, alias),
                None => return Err(self.without_column(property)),
            },
            Place::Json(sql, _) => sql.clone(),
        };
        let name = sql_literal(&property.name);
        let json = format!("({container} -> {name})");
        if property.is_collection {
            return Ok(Value::Elements(json, property, guard));
        }
        if let ValueType::Complex(id) = &property.value_type {
            let is_object = format!("(jsonb_typeof{json} = 'object') IS TRUE");
            let place = Place::Json(json, id.get());
            return Ok(Value::Instance(Self { of: id.get(), place, guard: and_guards(guard, Some(is_object)) }));
        }
        let text = format!("({container} ->> {name})");
        let scalar = |is_nullable| scalar(property, version, &json, &text, is_nullable);
        let operand = match &found.has_default {
            None => scalar(property.is_nullable),
            Some(condition) => {
                let (set, nullable) = (scalar(false), scalar(true));
                let sql = format!("CASE WHEN {condition} THEN {} ELSE {} END", set.sql, nullable.sql);
                Operand { sql, ..nullable }
            }
        };
        Ok(Value::Scalar(Operand { guard, ..operand }))
    }

    /// Returns an element of the array that `jsonb_array_elements` expands as `sql`.
    pub fn element(property: &'static Property, sql: &str, version: Version) -> Value {
        match &property.value_type {
            ValueType::Complex(id) => {
                let place = Place::Json(sql.to_owned(), id.get());
                Value::Instance(Self { of: id.get(), place, guard: None })
            }
            _ => Value::Scalar(scalar(property, version, sql, &format!("({sql} #>> '{{}}')"), true)),
        }
    }
}

/// Returns a scalar in `jsonb`: `json` is its value and `text` its text.
fn scalar(property: &'static Property, version: Version, json: &str, text: &str, is_nullable: bool) -> Operand {
    let unset = |value: &str| if is_nullable { "NULL".to_owned() } else { value.to_owned() };
    let set_or = |value: &str| match is_nullable {
        true => text.to_owned(),
        false => format!("COALESCE({text}, {})", sql_literal(value)),
    };
    let (kind, sql) = match &property.value_type {
        ValueType::Enumeration(of) => {
            let first = of.default_name(version);
            match of.is_flags {
                true if is_nullable => (Kind::Flags(of, version), bits(of, &set_or(first))),
                true => (Kind::Flags(of, version), format!("COALESCE({}, 0)", bits(of, &set_or(first)))),
                false => (Kind::Name(of, version), set_or(first)),
            }
        }
        ValueType::Complex(_) => (Kind::Text, text.to_owned()),
        ValueType::Primitive(primitive) => match primitive {
            Primitive::Boolean => {
                let unset = unset("false");
                let sql =
                    format!("CASE {json} WHEN 'true'::jsonb THEN true WHEN 'false'::jsonb THEN false ELSE {unset} END");
                (Kind::Boolean, sql)
            }
            Primitive::Int32 | Primitive::Int64 => {
                let unset = unset("0");
                (
                    Kind::Number,
                    format!("CASE jsonb_typeof({json}) WHEN 'number' THEN {} ELSE {unset} END", double(json, &unset)),
                )
            }
            Primitive::Double | Primitive::Single => {
                let special = format!("WHEN {text} IN ('INF', '-INF', 'NaN') THEN {text}::float8");
                let number = format!("WHEN jsonb_typeof({json}) = 'number' THEN {}", double(json, &unset("0")));
                (Kind::Number, format!("CASE {number} {special} ELSE {} END", unset("0")))
            }
            Primitive::String => (Kind::Text, set_or("")),
            Primitive::Binary => (Kind::TextOf(*primitive), set_or("")),
            Primitive::Date => (Kind::TextOf(*primitive), set_or("0001-01-01")),
            Primitive::TimeOfDay => (Kind::TextOf(*primitive), set_or("00:00:00.0000000")),
            // Without the Z, a longer fraction sorts after a shorter one.
            Primitive::DateTimeOffset => {
                (Kind::TextOf(*primitive), format!("rtrim({}, 'Z')", set_or("0001-01-01T00:00:00Z")))
            }
        },
    };
    Operand { is_nullable, ..Operand::plain(kind, sql, &property.name) }
}

/// Returns the SQL of a `jsonb` number as a double. The result is `unset` when the absolute
/// value is not 0 and not between 2.3e-308 and 1.7e308. The cast would fail for most of these
/// numbers and so fail the statement for all rows.
fn double(json: &str, unset: &str) -> String {
    let number = format!("({json})::numeric");
    format!(
        "CASE WHEN abs({number}) < 1.7e308 AND (abs({number}) > 2.3e-308 OR {number} = 0) THEN ({json})::float8 ELSE {unset} END"
    )
}

/// Returns the SQL that converts names of flags to bits, or to null when there are none.
fn bits(of: &Enumeration, text: &str) -> String {
    let names = of.all.iter().map(|member| format!("({}, {})", sql_literal(&member.name), member.bits));
    format!(
        "(SELECT bit_or(flag.bits) FROM (VALUES {}) AS flag (name, bits) WHERE flag.name = ANY (string_to_array({text}, ',')))",
        names.collect::<Vec<_>>().join(", ")
    )
}
