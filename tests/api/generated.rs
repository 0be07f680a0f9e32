//! Generated bodies never cause a server error.

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{App, CONFIGURATIONS};

/// Generates bodies that are close to valid ones: each member is valid, invalid or missing.
fn body() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["[a-z]{0,4}", any::<String>(), Just("7E159A72-9A72-4E15-929A-157E729A157E".to_owned())];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from)
    ]
    .boxed();
    let odata_type = prop_oneof![
        Just("#microsoft.graph.groupAssignmentTarget"),
        Just("microsoft.graph.allDevicesAssignmentTarget"),
        Just("#microsoft.graph.deviceConfigurationAssignment"),
        Just("#microsoft.graph.windows10CustomConfiguration"),
    ]
    .prop_map(Value::from);
    let typed = prop_oneof![odata_type, leaf.clone()].boxed();
    let name =
        prop_oneof![Just("groupId"), Just("collectionId"), Just("displayName"), Just("id"), Just("intent"), Just("x")];
    let members = prop::collection::btree_map(name.prop_map(str::to_owned), leaf.clone(), 0..4);
    let object = |typed: BoxedStrategy<Value>, members: BoxedStrategy<std::collections::BTreeMap<String, Value>>| {
        (prop::option::of(typed), members).prop_map(|(odata_type, mut members)| {
            members.extend(odata_type.map(|odata_type| ("@odata.type".to_owned(), odata_type)));
            json!(members)
        })
    };
    let target = prop_oneof![4 => object(typed.clone(), members.clone().boxed()), 1 => leaf.clone()];
    let assignment = (object(typed, members.boxed()), prop::option::of(target)).prop_map(|(mut body, target)| {
        if let Some(target) = target {
            body["target"] = target;
        }
        body
    });
    let set = prop::collection::vec(assignment.clone(), 0..3).prop_map(|set| json!({ "assignments": set }));
    prop_oneof![assignment, set, leaf]
}

#[actix_web::test]
async fn no_body_is_ever_a_server_error_and_a_refused_one_writes_nothing() {
    let app = App::start().await;
    let mut runner = TestRunner::new(ProptestConfig::with_cases(400));
    let configuration = app.configuration().await;
    for _ in 0..400 {
        let body = body().new_tree(&mut runner).expect("a body").current();
        for version in ["v1.0", "beta"] {
            let one = configuration.replacen("v1.0", version, 1);
            let mut before = app.assignments(&one).await;
            for (method, path) in [
                (Method::POST, format!("{one}/assignments")),
                (Method::POST, format!("{one}/assign")),
                (Method::PATCH, one.clone()),
                (Method::POST, CONFIGURATIONS.replacen("v1.0", version, 1)),
            ] {
                let answer = app.send_json(method.clone(), &path, &body).await;
                match answer.status.as_u16() {
                    200 | 201 | 204 => {
                        before = app.assignments(&one).await;
                        continue;
                    }
                    400 | 409 => drop(answer.refusal()),
                    status => panic!("{status} for {method} {path} {body}: {}", answer.text),
                }
                assert_eq!(app.assignments(&one).await, before, "{method} {path} {body}");
            }
        }
    }
}
