//! The programs that check a chart: helm, kubeconform, kube-score.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tempfile::TempDir;

use crate::cases;
use crate::objects::Objects;

/// The release and the namespace that everything is rendered for, as skaffold.yaml and the documents have them.
pub const RELEASE: &str = "cliscale";
pub const NAMESPACE: &str = "ws-cli";

/// Where the programs are, and a folder for what they write.
pub struct Tools {
    folder: PathBuf,
    work: TempDir,
}

/// How a program ended, and what it said.
pub struct Ran {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

/// A case of `cases`, rendered.
pub struct Rendered {
    pub name: String,
    pub objects: Objects,
}

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the project's folder").to_owned()
}

/// A file of the project.
pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Tools {
    /// Those that the environment names. `None`: there are none, and the test is skipped by name.
    pub fn of_environment() -> Result<Option<Self>> {
        let Some(folder) = std::env::var_os("CLISCALE_E2E_TOOLS").map(PathBuf::from) else {
            ensure!(std::env::var("CI").as_deref() != Ok("true"), "CLISCALE_E2E_TOOLS is unset under CI");
            println!(
                "skipped: {}: CLISCALE_E2E_TOOLS is unset",
                std::thread::current().name().unwrap_or("a test of the chart")
            );
            return Ok(None);
        };
        Ok(Some(Self { folder, work: tempfile::tempdir()? }))
    }

    /// A folder that goes with the test.
    pub fn work(&self) -> &Path {
        self.work.path()
    }

    /// Runs a program of the folder in the project's, with `input` to read.
    pub fn run<A: AsRef<OsStr>>(&self, program: &str, args: &[A], input: &str) -> Result<Ran> {
        let mut command = Command::new(self.folder.join(program));
        command.args(args).current_dir(root()).env_remove("KUBECONFIG");
        // Nothing of the person who runs the tests is looked at or written.
        for variable in ["HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, self.work());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| self.folder.join(program).display().to_string())?;
        let mut stdin = child.stdin.take().context("its input")?;
        let input = input.to_owned();
        // Beside the reading below, for a program may write before it has read everything; what it does not want is left.
        let writer = std::thread::spawn(move || _ = stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output()?;
        writer.join().expect("the writer does not panic");
        Ok(Ran {
            success: output.status.success(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// What `helm template` says with these arguments, whether it succeeds or not.
    pub fn template<A: AsRef<str>>(&self, args: &[A]) -> Result<Ran> {
        let fixed = ["template", RELEASE, "chart", "--namespace", NAMESPACE];
        let args: Vec<&str> = fixed.into_iter().chain(args.iter().map(AsRef::as_ref)).collect();
        self.run("helm", &args, "")
    }

    /// The objects that the chart makes of these arguments.
    pub fn render<A: AsRef<str>>(&self, args: &[A]) -> Result<Objects> {
        let ran = self.template(args)?;
        if !ran.success {
            let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
            bail!("helm template {}: {}", args.join(" "), ran.stderr);
        }
        Objects::parse(ran.stdout)
    }

    /// Every case, rendered once for all tests.
    pub fn cases(&self) -> Result<&'static [Rendered]> {
        static RENDERED: OnceLock<std::result::Result<Vec<Rendered>, String>> = OnceLock::new();
        let rendered = RENDERED.get_or_init(|| {
            let rendered = cases::all().into_iter().map(|case| match self.render(&case.args) {
                Ok(objects) => Ok(Rendered { name: case.name, objects }),
                Err(error) => Err(format!("{}: {error:#}", case.name)),
            });
            rendered.collect()
        });
        rendered.as_deref().map_err(|error| anyhow!("{error}"))
    }

    /// What the chart says where it refuses.
    pub fn refusal<A: AsRef<str>>(&self, args: &[A]) -> Result<String> {
        let ran = self.template(args)?;
        let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
        ensure!(!ran.success, "it is not refused: helm template {}", args.join(" "));
        Ok(ran.stderr)
    }

    /// The location of schemas for kubeconform: of all kinds of Kubernetes, and of the custom ones in `e2e/chart/crds`.
    pub fn schemas(&self) -> Result<String> {
        let folder = self.work().join("schemas");
        let swagger = self.folder.join("swagger.json");
        let crds = root().join("e2e/chart/crds");
        let made = Command::new(root().join("e2e/chart/schemas")).args([&swagger, &crds, &folder]).output()?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(format!("{}/{{{{.Group}}}}/{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json", folder.display()))
    }
}
