//! Reads files into valid configurations. The seed writes only after all files are valid.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{foreign, manifest};
use crate::{
    catalogue::{date_literals, messages, version::Version},
    config::Settings,
    error::ApiError,
    json,
    odata::members::ObjectReader,
    resources::{
        assignments::model::{self as assignment, NewAssignment},
        configurations::model::{self as configuration, NewConfiguration},
    },
};

/// A configuration of a file, with its set of assignments.
#[derive(Debug)]
pub struct ParsedConfiguration {
    /// The file and the path in it.
    pub at: SourceLocation,
    /// The id: that of the file, else an id that is derived from type and name, so that the
    /// same file always gives the same configuration.
    pub id: Uuid,
    /// The configuration.
    pub new: NewConfiguration,
    /// The assignments. `None` when the file does not have the member.
    pub assignments: Option<Vec<NewAssignment>>,
}

/// A location in the files.
#[derive(Clone, Debug)]
pub struct SourceLocation {
    file: PathBuf,
    path: String,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if self.path.is_empty() { Ok(()) } else { write!(formatter, ": {}", self.path) }
    }
}

/// The settings that decide which files are read.
#[derive(Clone, Copy, Debug)]
pub struct FileRules {
    /// The version of a file that does not name its version.
    pub beta: Version,
    /// The maximum number of JSON values in a request body.
    pub max_values: usize,
    /// Whether every file and linked folder of the folder must be read.
    pub must_be_complete: bool,
}

impl FileRules {
    /// Returns the rules of the settings.
    pub fn of(settings: &Settings) -> Self {
        Self {
            beta: Version::beta(settings.catalogue.unknown_types),
            max_values: settings.server.max_values(),
            must_be_complete: false,
        }
    }

    /// Returns how many JSON values a file of this number of bytes may hold.
    ///
    /// A file of many ordinary configurations has more than 16 bytes for each value. The export of
    /// a configuration can have more values than each request that wrote it: an export adds
    /// members with their defaults, all assignments, and references of secrets. Each value that it
    /// adds has 32 bytes or more, so that every such export can be loaded.
    fn limit(self, bytes: usize) -> usize {
        self.max_values.saturating_add(bytes / 32).max(bytes / 16)
    }
}

/// Reads a file, or every `*.json` of a folder and the folders in it.
///
/// # Errors
/// Names every file that is refused, each with its reason: the first member that is wrong, the
/// kind of a file that is no configuration, or too many JSON values for its size. Names two files
/// that have the same configuration.
pub fn read(path: &Path, rules: FileRules) -> anyhow::Result<Vec<ParsedConfiguration>> {
    let mut files = Found::default();
    find(path, true, &mut files)?;
    if files.json.is_empty() {
        bail!("{}: there is no file *.json in this folder{}", path.display(), lines(&files.others));
    }
    let (mut all, mut refused) = (Vec::new(), Vec::new());
    for file in &files.json {
        refused.extend(read_file(file, rules, &mut all).err().map(|error| format!("{error:#}")));
    }
    if rules.must_be_complete && refused.is_empty() {
        ensure!(
            files.others.is_empty(),
            "--prune deletes configurations that are not in the folder, and parts of the folder were not read; move these away, or leave --prune out{}",
            lines(&files.others)
        );
        manifest::check_complete(path)?;
    }
    match refused.as_slice() {
        [] => files.others.iter().for_each(|other| tracing::warn!("{other}")),
        [only] => bail!("{only}{}", lines(&files.others)),
        several => bail!("{} files are refused{}{}", several.len(), lines(several), lines(&files.others)),
    }
    // Sort, so that two concurrent seeds lock rows in the same order and cannot deadlock.
    all.sort_by_key(|parsed| parsed.id);
    let mut places = BTreeMap::new();
    for parsed in &all {
        if let Some(other) = places.insert(parsed.id, &parsed.at) {
            bail!(
                "{}: the same configuration is at {other}: {}",
                parsed.at,
                match parsed.new.id {
                    Some(id) => format!("both have the id {id}"),
                    None => "both have this type and name; give each an id, a GUID".to_owned(),
                }
            );
        }
    }
    Ok(all)
}

/// The files of a folder.
#[derive(Default)]
struct Found {
    json: Vec<PathBuf>,
    /// Lines about linked folders, and about files of backup tools that are not JSON. They are not read.
    others: Vec<String>,
}

/// Returns the texts, each after a line break.
fn lines(texts: &[String]) -> String {
    texts.iter().map(|text| format!("\n{text}")).collect()
}

/// Finds the files below `path`. Skips hidden files, and links to folders, which may form a
/// cycle.
fn find(path: &Path, is_root: bool, files: &mut Found) -> anyhow::Result<()> {
    let cannot = || format!("cannot read {}", path.display());
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let is_link = fs::symlink_metadata(path).with_context(cannot)?.is_symlink();
    if is_root || is_json || !is_link {
        let found = fs::metadata(path).with_context(cannot)?;
        if found.is_dir() && (is_root || !is_link) {
            let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).with_context(cannot)?;
            for entry in entries {
                if !entry.file_name().to_string_lossy().starts_with('.') {
                    find(&entry.path(), false, files)?;
                }
            }
        } else if found.is_file() && (is_root || is_json) {
            files.json.push(path.to_owned());
        } else if let Some(kind) = foreign::kind_of_other(path) {
            files.others.push(format!("{}: not read, because it looks like {kind}", path.display()));
        }
    } else if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        files.others.push(format!("{}: not read, because it is a link to a folder", path.display()));
    }
    Ok(())
}

/// Decodes a file that begins with a byte order mark. PowerShell writes UTF-16, and UTF-8 with
/// this mark.
fn decode(bytes: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let units = |to_unit: fn([u8; 2]) -> u16| bytes[2..].chunks_exact(2).map(move |pair| to_unit([pair[0], pair[1]]));
    let text = match bytes.as_slice() {
        [0xef, 0xbb, 0xbf, text @ ..] => return Ok(text.to_owned()),
        [0xff, 0xfe, ..] => String::from_utf16(&units(u16::from_le_bytes).collect::<Vec<_>>()),
        [0xfe, 0xff, ..] => String::from_utf16(&units(u16::from_be_bytes).collect::<Vec<_>>()),
        _ => return Ok(bytes),
    };
    Ok(text.context("it begins with the byte order mark of UTF-16 but is not valid UTF-16")?.into_bytes())
}

/// Reads the JSON of a file, unless it would need far more memory than the file has bytes.
fn read_json(file: &Path, rules: FileRules) -> anyhow::Result<Value> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = decode(bytes).with_context(|| file.display().to_string())?;
    let file = file.display();
    ensure!(
        !text.iter().all(u8::is_ascii_whitespace),
        "{file}: the file is empty; write a configuration, or move it out of the folder"
    );
    let (values, limit) = (json::count_values(&text), rules.limit(text.len()));
    ensure!(
        values <= limit,
        "{file}: it holds {values} JSON values, and the limit for a file of this size is {limit}; an object with members counts as two; if the file is right, set server.max_body_values to {} or more",
        values - text.len() / 32
    );
    json::read(&text).map_err(|error| anyhow!("{file}: {error}"))
}

fn read_file(file: &Path, rules: FileRules, all: &mut Vec<ParsedConfiguration>) -> anyhow::Result<()> {
    let value = read_json(file, rules)?;
    let refused = |refusal: String| format!("{}: {refusal}", file.display());
    if let Some(kind) = foreign::kind(file, &value) {
        bail!(refused(format!("this is not a configuration, because it looks like {kind}; {}", foreign::remedy(kind))));
    }
    let (prefix, elements, version) = match value {
        Value::Array(elements) => ("", elements, rules.beta),
        Value::Object(mut members) => {
            let version = version(&members, rules.beta);
            match members.remove("value") {
                Some(Value::Array(elements)) if !members.contains_key("@odata.type") => {
                    if members.contains_key("@odata.nextLink") {
                        bail!(refused(
                            "it has an @odata.nextLink, so it is only one page of an export; save all pages".to_owned()
                        ));
                    }
                    ("value", elements, version)
                }
                value => {
                    members.extend(value.map(|value| ("value".to_owned(), value)));
                    all.push(configuration(
                        SourceLocation { file: file.to_owned(), path: String::new() },
                        members,
                        version,
                    )?);
                    return Ok(());
                }
            }
        }
        other => bail!(refused(format!(
            "it holds {}; it must hold a configuration or an array of configurations",
            messages::kind(&other)
        ))),
    };
    for (index, element) in elements.into_iter().enumerate() {
        let at = SourceLocation { file: file.to_owned(), path: format!("{prefix}[{index}]") };
        match element {
            Value::Object(members) => all.push(configuration(at, members, version)?),
            other => bail!("{at}: it is {}; it must be a configuration", messages::kind(&other)),
        }
    }
    Ok(())
}

/// The namespace of derived ids.
const IDS: Uuid = Uuid::from_u128(0x6a1f_3c0e_5b0d_4c57_9d1e_2f8a_7c44_1b90);

/// Returns the version that the file was read from. A file without a version may have members
/// of `/beta`.
fn version(members: &Map<String, Value>, beta: Version) -> Version {
    let context = members.get("@odata.context").and_then(Value::as_str);
    match context.is_some_and(|context| context.contains("/v1.0/$metadata")) {
        true => Version::V1,
        false => beta,
    }
}

fn configuration(
    at: SourceLocation,
    mut members: Map<String, Value>,
    version: Version,
) -> anyhow::Result<ParsedConfiguration> {
    rewrite_dates(&mut members);
    let refused = |refusal: ApiError| anyhow!("{}: {refusal}", at.file.display());
    let mut members = ObjectReader::new(members, at.path.clone(), configuration::TYPE, version);
    let assignments = members.objects("assignments", assignment::TYPE).map_err(refused)?;
    let assignments: Option<Result<Vec<_>, _>> =
        assignments.map(|all| all.map(|element| NewAssignment::parse(element?)).collect());
    let assignments = assignments.transpose().map_err(refused)?;
    let new = NewConfiguration::parse(members).map_err(refused)?;
    let id =
        new.id.unwrap_or_else(|| Uuid::new_v5(&IDS, format!("{}\0{}", new.odata_type, new.display_name).as_bytes()));
    Ok(ParsedConfiguration { at, id, new, assignments })
}

/// Writes the times of a configuration that are not applied as OData writes them.
fn rewrite_dates(members: &mut Map<String, Value>) {
    for name in ["createdDateTime", "lastModifiedDateTime"] {
        if let Some(value) = members.get_mut(name)
            && let Some(time) = value.as_str().and_then(date_literals::rewritten)
        {
            *value = time.into();
        }
    }
}

impl ParsedConfiguration {
    /// Returns the id of the assignment at `index`: that of the file, else an id that is
    /// derived from its target.
    pub fn assignment_id(&self, index: usize, new: &NewAssignment) -> Uuid {
        let name = || new.target.key().unwrap_or_else(|| format!("base:{index}"));
        new.id.unwrap_or_else(|| Uuid::new_v5(&self.id, name().as_bytes()))
    }
}
