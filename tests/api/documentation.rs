//! Compares the settings page and the table of queries with the product.

use std::collections::BTreeSet;

use devicegraph::{config::Settings, odata::options::SYSTEM};

use crate::harness::{App, CONFIGURATIONS, beta};

const SETTINGS: &str = include_str!("../../docs/settings.md");
const QUERIES: &str = include_str!("../../docs/queries.md");
const DEFAULTS: &str = include_str!("../../src/default.toml");

/// Every `section.key` of the defaults with its value; one that is commented
/// out is not set.
fn defaults() -> BTreeSet<(String, String)> {
    let mut section = "";
    let mut keys = BTreeSet::new();
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let (line, is_set) = line.strip_prefix("# ").map_or((line, true), |line| (line, false));
        if let Some((key, value)) = line.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
            let value = if is_set { format!("`{}`", value.trim_matches('"')) } else { "not set".to_owned() };
            keys.insert((format!("{section}.{key}"), value));
        }
    }
    keys
}

#[test]
fn the_settings_table_is_the_defaults() {
    let rows = SETTINGS.lines().filter_map(|line| line.strip_prefix("| `"));
    let table: BTreeSet<_> = rows
        .filter_map(|row| {
            let mut cells = row.split(" | ");
            let key = cells.next()?.trim_end_matches('`');
            Some((key.to_owned(), cells.next()?.to_owned()))
        })
        .filter(|(key, value)| key.contains('.') && !key.contains(['/', '[']) && value != "refused")
        .collect();
    assert_eq!(table, defaults());
}

/// The rows of the table of queries: what, whether it is supported, an example.
fn queries() -> Vec<(String, bool, String)> {
    let (_, table) = QUERIES.split_once("| what | | for example |").expect("the table of queries");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let row = |row: &str| {
        let mut cells = row.trim_matches(['|', ' ']).split(" | ");
        let mut cell = || cells.next().unwrap_or_default().to_owned();
        let (what, is_supported, example) = (cell(), cell(), cell());
        let is_supported = match is_supported.as_str() {
            "supported" => true,
            "refused" => false,
            other => panic!("{other}"),
        };
        (what, is_supported, example.trim_matches('`').to_owned())
    };
    rows.map(row).collect()
}

#[actix_web::test]
async fn the_table_of_queries_is_what_the_service_does() {
    let app = App::start().await;
    app.configuration().await;
    let queries = queries();
    for (what, is_supported, example) in &queries {
        let example = example.replace(' ', "%20");
        for path in [CONFIGURATIONS.to_owned(), beta(CONFIGURATIONS)] {
            for spelling in [example.clone(), example.replacen('$', "%24", 1), example.replacen('$', "", 1)] {
                let answer = app.get(&format!("{path}?{spelling}")).await;
                if *is_supported {
                    assert_eq!(answer.status, 200, "{spelling}: {}", answer.text);
                    continue;
                }
                let refusal = answer.refusal();
                let name = what.split('`').nth(1).expect("a name");
                assert!(refusal.starts_with("400 BadRequest: ") && refusal.contains(name), "{spelling}: {refusal}");
            }
        }
    }
    let names: BTreeSet<_> = queries.iter().filter_map(|(what, ..)| what.split('`').nth(1)).collect();
    let options = SYSTEM.map(|name| format!("${name}"));
    // Operators and functions of OData 4.01.
    let words = "eq ne gt ge lt le in has and or not add sub mul div divby mod any all concat contains endswith indexof \
        length startswith substring hassubset hassubsequence matchesPattern tolower toupper trim day date \
        fractionalseconds hour maxdatetime mindatetime minute month now second time totaloffsetminutes totalseconds \
        year ceiling floor round cast isof geo.distance geo.intersects geo.length case $it $root";
    for name in options.iter().map(String::as_str).chain(words.split_whitespace()) {
        assert!(names.contains(name), "the table says nothing of {name}");
    }
}

#[test]
fn the_defaults_are_settings() {
    let defaults = config::Config::builder().add_source(config::File::from_str(
        &DEFAULTS
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|line| line.split(' ').nth(1) == Some("=")).unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n"),
        config::FileFormat::Toml,
    ));
    // With what is commented out: every key in the file exists.
    let settings: Settings =
        defaults.build().and_then(config::Config::try_deserialize).expect("every key is a setting");
    assert!(settings.database.url.is_some() && settings.database.data_dir.is_some() && settings.auth.mode.is_some());
}
