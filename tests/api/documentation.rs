//! What README says of the product, held to the product.

use std::collections::BTreeSet;

use devicegraph::config::Settings;

const README: &str = include_str!("../../README.md");
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
    let rows = README.lines().filter_map(|line| line.strip_prefix("| `"));
    let table: BTreeSet<_> = rows
        .filter_map(|row| {
            let mut cells = row.split(" | ");
            let key = cells.next()?.trim_end_matches('`');
            Some((key.to_owned(), cells.next()?.to_owned()))
        })
        .filter(|(key, _)| key.contains('.') && !key.contains(['/', '[']))
        .collect();
    assert_eq!(table, defaults());
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
