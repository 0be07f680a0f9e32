//! `$metadata` on both versions, as XML and as JSON, equals the catalogue.

use std::io::Read;

use devicegraph::catalogue::{Primitive, Type, ValueType, version::Version};
use flate2::read::GzDecoder;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::App;

async fn document(app: &App, path: &str, accept: &str) -> (String, String) {
    let answer = app.answer(app.request(Method::GET, path).header("accept", accept)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    (answer.header("content-type").to_owned(), answer.text)
}

#[actix_web::test]
async fn every_type_and_property_of_the_catalogue_is_in_it_and_no_other() {
    let app = App::start().await;
    for (mount, version) in [("/v1.0", Version::V1), ("", Version::V1), ("/beta", Version::Beta)] {
        let (content_type, json) = document(&app, &format!("{mount}/$metadata"), "application/json").await;
        assert_eq!(content_type, "application/json;charset=utf-8");
        let json: Value = serde_json::from_str(&json).expect("JSON");
        let schema = &json["microsoft.graph"];
        let (content_type, xml) = document(&app, &format!("{mount}/$metadata"), "*/*").await;
        assert_eq!(content_type, "application/xml");
        let mut properties = 0;
        for of in Type::all() {
            let Some(found) = schema.get(&of.name) else {
                assert!(version == Version::V1, "{}", of.name);
                assert!(!xml.contains(&format!("Name=\"{}\"", of.name)));
                continue;
            };
            for property in of.properties(version) {
                let type_name = match &property.value_type {
                    ValueType::Primitive(Primitive::String) => "Edm.String".to_owned(),
                    other => other.to_string(),
                };
                let own = &found[&property.name];
                if own.is_object() {
                    assert_eq!(own.get("$Type").and_then(Value::as_str).unwrap_or("Edm.String"), type_name);
                    let collection = format!("Collection({type_name})");
                    let type_name = if property.is_collection { &collection } else { &type_name };
                    let nullable = if property.is_nullable { "" } else { " Nullable=\"false\"" };
                    let element = format!("<Property Name=\"{}\" Type=\"{type_name}\"{nullable}", property.name);
                    assert!(xml.contains(&element), "{element}");
                    properties += 1;
                }
            }
        }
        assert_eq!(xml.matches("<Property ").count(), properties);
        assert_eq!(xml.contains("roleScopeTagIds"), version == Version::Beta);
        for part in [
            r#"<EntityType Name="entity" Abstract="true"><Key><PropertyRef Name="id"/></Key>"#,
            r#"<EnumType Name="windowsStartMenuModeType"><Member Name="userDefined" Value="0"/><Member Name="fullScreen" Value="1"/>"#,
            r#"<EnumType Name="sharedPCAllowedAccountType" IsFlags="true"><Member Name="guest" Value="1"/><Member Name="domain" Value="2"/>"#,
            r#"<NavigationProperty Name="assignments" Type="Collection(microsoft.graph.deviceConfigurationAssignment)" ContainsTarget="true"/>"#,
            r#"<NavigationProperty Name="deviceConfigurations" Type="Collection(microsoft.graph.deviceConfiguration)" ContainsTarget="true"><Annotation Term="Org.OData.Capabilities.V1.DeepInsertSupport"><Record><PropertyValue Property="Supported" Bool="true"/><PropertyValue Property="ContentIDSupported" Bool="false"/></Record></Annotation></NavigationProperty>"#,
            r#"<Action Name="assign" IsBound="true"><Parameter Name="bindingParameter" Type="microsoft.graph.deviceConfiguration" Nullable="false"/>"#,
            r#"<Parameter Name="mode" Type="Edm.String" Nullable="false"><Annotation Term="Org.OData.Core.V1.OptionalParameter"><Record><PropertyValue Property="DefaultValue" String="replace"/></Record></Annotation></Parameter>"#,
            r#"<EntityContainer Name="GraphService"><Singleton Name="deviceManagement" Type="microsoft.graph.deviceManagement"/></EntityContainer>"#,
        ] {
            assert!(xml.contains(part), "{part}");
        }
    }
}

#[actix_web::test]
async fn the_format_option_or_accept_chooses_xml_or_json() {
    let app = App::start().await;
    for (query, accept, is_json) in [
        ("", "text/html", false),
        ("", "application/xml, application/json", false),
        ("", "application/json;odata.metadata=none", true),
        ("?$format=json", "application/xml", true),
        ("?$format=application/xml", "application/json", false),
    ] {
        let (content_type, text) = document(&app, &format!("/v1.0/$metadata{query}"), accept).await;
        assert_eq!(content_type.contains("json"), is_json, "{query} {accept}");
        assert_eq!(text.starts_with('{'), is_json);
        assert!(!is_json || text.contains("@Org.OData.Validation.V1.MaxItems"));
    }
    let refusal = app.get("/v1.0/$metadata?$format=atom").await.refusal();
    assert_eq!(refusal, "400 BadRequest: The value of '$format' is neither xml nor json. Write one of these.");
    assert_eq!(app.post("/v1.0/$metadata", &json!({})).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[actix_web::test]
async fn a_large_document_is_compressed_for_clients_that_accept_gzip() {
    let app = App::start().await;
    for path in ["/openapi.json", "/docs/beta.json", "/beta/$metadata"] {
        let whole = app.get(path).await;
        assert!(whole.headers.get("content-encoding").is_none() && whole.text.len() > 300_000, "{path}");
        for (accepted, encoding) in [("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("identity", ""), ("gzip;q=0", "")] {
            let request =
                app.request(Method::GET, path).header("accept-encoding", accepted).build().expect("a request");
            let response = reqwest::Client::new().execute(request).await.expect("an answer");
            let told = response.headers().get("content-encoding").map_or("", |value| value.to_str().expect("text"));
            assert_eq!((told, &response.headers()["vary"]), (encoding, &"accept-encoding".parse().expect("a value")));
            let body = response.bytes().await.expect("a body");
            let mut text = String::new();
            match encoding {
                "gzip" => GzDecoder::new(body.as_ref()).read_to_string(&mut text).map(drop).expect("gzip"),
                _ => text = String::from_utf8(body.to_vec()).expect("text"),
            }
            assert!(text == whole.text, "{path} with {accepted}");
        }
    }
    // The answer to a step is a part of the JSON of the batch and is not compressed by itself.
    let step = json!({"id": "1", "method": "GET", "url": "/$metadata", "headers": {"accept-encoding": "gzip", "accept": "application/json"}});
    let answer = app.post("/beta/$batch", &json!({ "requests": [step] })).await.json();
    assert_eq!(answer["responses"][0]["body"]["$Version"], "4.01");
}
