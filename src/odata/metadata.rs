//! `$metadata`: the catalogue's document as CSDL XML or JSON.
//!
//! The service itself reads the catalogue from the same document. `/v1.0` leaves out the
//! elements that only `/beta` has.
//!
//! <https://docs.oasis-open.org/odata/odata-csdl-xml/v4.01/odata-csdl-xml-v4.01.html>

use std::io::Write;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT, HeaderMap},
};
use anyhow::Context;
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesEnd, BytesStart, Event},
};

use super::{large_document::LargeDocument, options::Options};
use crate::{
    catalogue::{
        NAMESPACE,
        csdl::{Csdl, DOCUMENT, REVISIONS},
        version::Version,
    },
    error::ApiError,
};

/// The documents of `/v1.0` and of `/beta`, each in XML and in JSON.
static DOCUMENTS: [[LargeDocument; 2]; 2] = [const { [const { LargeDocument::new() }; 2] }; 2];

/// `GET /$metadata`
///
/// # Errors
/// 400 for a `$format` that is neither XML nor JSON.
pub async fn get(request: HttpRequest, options: Options) -> Result<HttpResponse, ApiError> {
    let version = Version::of(&request);
    let [xml, json] = &DOCUMENTS[usize::from(version.is_beta())];
    match is_json(options.get("format"), request.headers())? {
        // The charset tells `negotiate` not to strip control information from this document.
        true => {
            json.answer(&request, "application/json;charset=utf-8", move |output| write_json(version, output)).await
        }
        false => xml.answer(&request, "application/xml", move |output| write_xml(&document_of(version)?, output)).await,
    }
}

/// Returns whether the client wants JSON: `$format` says so, or `Accept` lists JSON before XML.
fn is_json(format: Option<&str>, headers: &HeaderMap) -> Result<bool, ApiError> {
    match format {
        Some("json" | "application/json") => return Ok(true),
        Some("xml" | "application/xml") => return Ok(false),
        Some(_) => {
            return Err(ApiError::bad_request("The value of '$format' is neither xml nor json. Write one of these."));
        }
        None => {}
    }
    let lines = headers.get_all(ACCEPT).filter_map(|line| line.to_str().ok());
    let ranges = lines.flat_map(|line| line.split(',')).filter_map(|range| range.split(';').next());
    let first = ranges
        .map(str::trim)
        .find(|range| ["application/json", "application/xml", "text/xml", "*/*", "application/*"].contains(range));
    Ok(first == Some("application/json"))
}

fn write_json(version: Version, output: &mut dyn Write) -> anyhow::Result<()> {
    match version.is_beta() {
        true => Ok(output.write_all(DOCUMENT.as_bytes())?),
        false => Ok(serde_json::to_writer(output, &document_of(version)?)?),
    }
}

fn document_of(version: Version) -> serde_json::Result<Csdl> {
    let document = Csdl::read()?;
    Ok(if version.is_beta() { document } else { without_beta(document) })
}

/// Returns the document without what only `/beta` has: types, properties, and members of
/// enumerations.
fn without_beta(node: Csdl) -> Csdl {
    match node {
        Csdl::Object(members) => {
            let of_beta: Vec<_> = members.iter().filter_map(|(name, _)| name.strip_suffix(REVISIONS)).collect();
            let is_kept = |name: &str| !of_beta.contains(&name.strip_suffix(REVISIONS).unwrap_or(name));
            let kept = members.iter().filter(|(name, member)| is_kept(name) && !member.is_beta());
            Csdl::Object(kept.map(|(name, member)| (*name, without_beta(member.clone()))).collect())
        }
        Csdl::Array(elements) => Csdl::Array(elements.into_iter().map(without_beta).collect()),
        other => other,
    }
}

fn write_xml(document: &Csdl, output: &mut dyn Write) -> anyhow::Result<()> {
    let mut xml = Xml(Writer::new(output));
    xml.0.write_event(Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)))?;
    let edmx = [("Version", "4.0"), ("xmlns:edmx", "http://docs.oasis-open.org/odata/ns/edmx")];
    xml.element("edmx:Edmx", &edmx, |xml| {
        for (uri, reference) in document.get("$Reference").context("there are references")?.members() {
            xml.element("edmx:Reference", &[("Uri", &uri.replace(".json", ".xml"))], |xml| {
                for include in reference.get("$Include").map(Csdl::elements).unwrap_or_default() {
                    let namespace = include.text("$Namespace").context("a namespace")?;
                    xml.empty("edmx:Include", &[("Namespace", namespace)])?;
                }
                Ok(())
            })?;
        }
        xml.element("edmx:DataServices", &[], |xml| {
            let schema = [("Namespace", NAMESPACE), ("xmlns", "http://docs.oasis-open.org/odata/ns/edm")];
            xml.element("Schema", &schema, |xml| {
                let schema = document.get(NAMESPACE).context("there is a schema")?;
                schema.named().try_for_each(|(name, element)| xml.schema_element(name, element))
            })
        })
    })
}

struct Xml<'a>(Writer<&'a mut dyn Write>);

type Attributes<'a> = [(&'a str, &'a str)];

impl Xml<'_> {
    fn empty(&mut self, name: &str, attributes: &Attributes<'_>) -> anyhow::Result<()> {
        let start = BytesStart::new(name).with_attributes(attributes.iter().copied());
        Ok(self.0.write_event(Event::Empty(start))?)
    }

    fn element(
        &mut self,
        name: &str,
        attributes: &Attributes<'_>,
        inner: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let start = BytesStart::new(name).with_attributes(attributes.iter().copied());
        self.0.write_event(Event::Start(start))?;
        inner(self)?;
        Ok(self.0.write_event(Event::End(BytesEnd::new(name)))?)
    }

    fn schema_element(&mut self, name: &str, element: &Csdl) -> anyhow::Result<()> {
        match (element.text("$Kind"), element) {
            (Some(kind @ ("EntityType" | "ComplexType")), _) => self.structured(kind, name, element),
            (Some("EnumType"), _) => self.enumeration(name, element),
            (Some("EntityContainer"), _) => self.element("EntityContainer", &[("Name", name)], |xml| {
                element.named().try_for_each(|(name, singleton)| {
                    let of = singleton.text("$Type").context("a singleton has a type")?;
                    xml.empty("Singleton", &[("Name", name), ("Type", of)])
                })
            }),
            (_, Csdl::Array(overloads)) => overloads.iter().try_for_each(|overload| self.operation(name, overload)),
            (kind, _) => anyhow::bail!("{name} is of kind {kind:?}, which is not written"),
        }
    }

    fn structured(&mut self, kind: &str, name: &str, element: &Csdl) -> anyhow::Result<()> {
        let mut attributes = vec![("Name", name)];
        attributes.extend(element.text("$BaseType").map(|base| ("BaseType", base)));
        attributes.extend(element.is("$Abstract").then_some(("Abstract", "true")));
        self.element(kind, &attributes, |xml| {
            let keys = element.get("$Key").map(Csdl::elements).unwrap_or_default();
            if !keys.is_empty() {
                xml.element("Key", &[], |xml| {
                    keys.iter().try_for_each(|key| match key {
                        Csdl::Text(key) => xml.empty("PropertyRef", &[("Name", key)]),
                        _ => anyhow::bail!("a key is a name"),
                    })
                })?;
            }
            element.named().try_for_each(|(name, property)| xml.property(name, property))?;
            xml.annotations(element)
        })
    }

    fn property(&mut self, name: &str, property: &Csdl) -> anyhow::Result<()> {
        let is_navigation = property.text("$Kind") == Some("NavigationProperty");
        let of = type_of(property);
        let mut attributes = vec![("Name", name), ("Type", of.as_str())];
        // A navigation property of a collection has no `Nullable`.
        if !(is_navigation && property.is("$Collection")) {
            attributes.extend((!property.is("$Nullable")).then_some(("Nullable", "false")));
        }
        attributes.extend(property.is("$ContainsTarget").then_some(("ContainsTarget", "true")));
        let element = if is_navigation { "NavigationProperty" } else { "Property" };
        self.annotated(element, &attributes, property)
    }

    fn enumeration(&mut self, name: &str, element: &Csdl) -> anyhow::Result<()> {
        let mut attributes = vec![("Name", name)];
        attributes.extend(element.is("$IsFlags").then_some(("IsFlags", "true")));
        self.element("EnumType", &attributes, |xml| {
            element.named().try_for_each(|(name, value)| {
                let Csdl::Number(value) = value else { anyhow::bail!("{name} has a value") };
                let attributes = [("Name", name), ("Value", &value.to_string())];
                match element.get(&format!("{name}{REVISIONS}")) {
                    None => xml.empty("Member", &attributes),
                    Some(records) => xml.element("Member", &attributes, |xml| xml.annotation(REVISIONS, records)),
                }
            })?;
            xml.annotations(element)
        })
    }

    fn operation(&mut self, name: &str, overload: &Csdl) -> anyhow::Result<()> {
        let kind = overload.text("$Kind").context("an operation has a kind")?;
        let mut attributes = vec![("Name", name)];
        attributes.extend(overload.is("$IsBound").then_some(("IsBound", "true")));
        self.element(kind, &attributes, |xml| {
            for parameter in overload.get("$Parameter").map(Csdl::elements).unwrap_or_default() {
                let name = parameter.text("$Name").context("a parameter has a name")?;
                xml.property_like("Parameter", Some(name), parameter)?;
            }
            overload.get("$ReturnType").map_or(Ok(()), |of| xml.property_like("ReturnType", None, of))
        })
    }

    fn property_like(&mut self, element: &str, name: Option<&str>, of: &Csdl) -> anyhow::Result<()> {
        let type_name = type_of(of);
        let mut attributes: Vec<_> = name.map(|name| ("Name", name)).into_iter().collect();
        attributes.push(("Type", &type_name));
        attributes.extend((!of.is("$Nullable")).then_some(("Nullable", "false")));
        self.annotated(element, &attributes, of)
    }

    fn annotated(&mut self, element: &str, attributes: &Attributes<'_>, of: &Csdl) -> anyhow::Result<()> {
        match of.members().iter().any(|(name, _)| name.starts_with('@')) {
            false => self.empty(element, attributes),
            true => self.element(element, attributes, |xml| xml.annotations(of)),
        }
    }

    /// Writes annotations: numbers as they are, a record, and revisions as a collection of records.
    fn annotations(&mut self, of: &Csdl) -> anyhow::Result<()> {
        of.members()
            .iter()
            .filter(|(term, _)| term.starts_with('@'))
            .try_for_each(|(term, value)| self.annotation(term, value))
    }

    fn annotation(&mut self, term: &str, value: &Csdl) -> anyhow::Result<()> {
        let term = term.trim_start_matches('@');
        match value {
            Csdl::Number(number) => self.empty("Annotation", &[("Term", term), ("Int", &number.to_string())]),
            Csdl::Object(_) => self.element("Annotation", &[("Term", term)], |xml| xml.record(value)),
            Csdl::Array(records) => self.element("Annotation", &[("Term", term)], |xml| {
                xml.element("Collection", &[], |xml| records.iter().try_for_each(|record| xml.record(record)))
            }),
            Csdl::Text(_) | Csdl::Boolean(_) => anyhow::bail!("an annotation {term} of this kind is not written"),
        }
    }

    fn record(&mut self, record: &Csdl) -> anyhow::Result<()> {
        self.element("Record", &[], |xml| {
            record.members().iter().try_for_each(|(name, value)| match value {
                Csdl::Text(text) if *name == "Kind" => {
                    let member = format!("Org.OData.Core.V1.RevisionKind/{text}");
                    xml.empty("PropertyValue", &[("Property", name), ("EnumMember", &member)])
                }
                Csdl::Text(text) => xml.empty("PropertyValue", &[("Property", name), ("String", text)]),
                Csdl::Boolean(is_set) => {
                    xml.empty("PropertyValue", &[("Property", name), ("Bool", &is_set.to_string())])
                }
                _ => anyhow::bail!("a member {name} of this kind is not written"),
            })
        })
    }
}

fn type_of(of: &Csdl) -> String {
    let name = of.text("$Type").unwrap_or("Edm.String");
    if of.is("$Collection") { format!("Collection({name})") } else { name.to_owned() }
}
