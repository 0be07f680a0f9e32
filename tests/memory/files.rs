//! The memory that `seed` needs for one file of 1 MiB.

use std::{fs, path::Path};

use devicegraph::{
    config,
    import_export::{self, Done, FileRules},
    resources::configurations::vault::Vault,
};
use sqlx::{PgPool, postgres::PgConnectOptions};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    BODY, ONE, VALUES, arrays,
    harness::{self, database},
    members, peak,
};

/// The maximum number of values in a file of this size with the default settings.
const FILE_VALUES: usize = VALUES + BODY / 32;

/// Seeds a database from files and measures the memory that this needs.
struct Seeder {
    options: PgConnectOptions,
    folder: TempDir,
}

impl Seeder {
    /// Runs `devicegraph seed` for a file. Returns what it did.
    ///
    /// # Panics
    /// When it adds too much memory.
    fn seed(&self, name: &str, text: &str) -> Result<Done, String> {
        let file = self.folder.path().join("seed.json");
        fs::write(&file, text).expect("a file");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (added, done) = peak(|| runtime.block_on(seed(&self.options, &file)));
        let done = done.map_err(|error| format!("{error:#}"));
        let shown: String = format!("{done:?}").replace(&file.display().to_string(), "…").chars().take(90).collect();
        println!("{:>6} KiB seed {name}, {} bytes: {shown}", added >> 10, text.len());
        assert!(added < ONE, "{} KiB for a seed of {name}, {} bytes", added >> 10, text.len());
        done
    }
}

async fn seed(options: &PgConnectOptions, file: &Path) -> anyhow::Result<Done> {
    let pool = PgPool::connect_with(options.clone()).await?;
    let vault = Vault::new(&config::Secrets::default())?;
    let seeds = import_export::read(file, FileRules::of(&harness::settings()))?;
    let done = import_export::seed(&pool, &vault, seeds, || ()).await?;
    pool.close().await;
    Ok(done)
}

/// Returns a file of 1 MiB: a configuration with these members and a long text.
fn configuration(id: Uuid, members: &str) -> String {
    let start = format!(
        r##"{{"@odata.type":"#microsoft.graph.windows10CustomConfiguration","displayName":"a","id":"{id}",{members},"text":""##
    );
    let length = BODY.saturating_sub(start.len() + 2);
    format!(r#"{start}{}"}}"#, "x".repeat(length))
}

/// Returns the member `assignments` with targets of directory groups, numbered from `first` on.
fn assignments(first: usize) -> String {
    let target = |number| {
        format!(r##"{{"target":{{"@odata.type":"#microsoft.graph.groupAssignmentTarget","groupId":"{number:07}"}}}}"##)
    };
    let targets: Vec<_> = (first..first + BODY / 96).map(target).collect();
    format!(r#""assignments":[{}]"#, targets.join(","))
}

/// Returns the members of configurations with the maximum number of values: a description, the
/// members of a new configuration, and those of its change.
fn loaded() -> Vec<(&'static str, [String; 2])> {
    let two = |members: String| [format!(r#"{members},"other":1"#), format!(r#"{members},"other":2"#)];
    let unknown = arrays(FILE_VALUES).into_iter().map(|(name, array)| (name, two(format!(r#""unknown":{array}"#))));
    let mut all: Vec<_> = unknown.collect();
    all.push(("many members", two(members(FILE_VALUES))));
    // A reference to a secret that this store does not have.
    let setting = r##"{"@odata.type":"#microsoft.graph.omaSettingString","displayName":"s","omaUri":"./s","value":"****","isEncrypted":true,"secretReferenceValueId":"a_b_c"}"##;
    let objects = &arrays(FILE_VALUES - 9)[0].1;
    all.push(("a secret and objects", two(format!(r#""omaSettings":[{setting}],"unknown":{objects}"#))));
    all.push(("many assignments", [assignments(0), assignments(1)]));
    all
}

pub(crate) fn one_file_alone() {
    let options = actix_web::rt::System::new().block_on(database(true));
    let seeder = Seeder { options, folder: tempfile::tempdir().expect("a folder") };
    for (name, [first, second]) in loaded() {
        let id = Uuid::now_v7();
        let none = Done::default();
        for (what, members, done) in [
            ("new", &first, Done { created: 1, ..none }),
            ("changed", &second, Done { changed: 1, ..none }),
            ("unchanged", &second, Done { unchanged: 1, ..none }),
        ] {
            assert_eq!(seeder.seed(&format!("{what} {name}"), &configuration(id, members)), Ok(done));
        }
    }
    for (name, array) in arrays(FILE_VALUES) {
        for (member, text) in [
            ("elements", array.clone()),
            ("assignments", configuration(Uuid::nil(), &format!(r#""assignments":{array}"#))),
            ("roleScopeTagIds", configuration(Uuid::nil(), &format!(r#""roleScopeTagIds":{array}"#))),
        ] {
            let text = text.clone() + &" ".repeat(BODY.saturating_sub(text.len()));
            let done = seeder.seed(&format!("{member} {name}"), &text);
            assert!(done.is_ok() || done.is_err_and(|refusal| !refusal.contains("max_body_values")), "{member} {name}");
        }
    }
    for (name, array) in arrays(8 * FILE_VALUES) {
        let text = configuration(Uuid::nil(), &format!(r#""unknown":{array}"#));
        let refusal = seeder.seed(&format!("far too many {name}"), &text).expect_err(name);
        assert!(refusal.contains("max_body_values"), "{refusal}");
    }
}
