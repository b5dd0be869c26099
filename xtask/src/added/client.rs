//! A client of other registries, with the computer's own `curl`: proxies, certificates and TLS are as the
//! user has set them up.

use std::cell::RefCell;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use oci::{
    DEFAULT_DOMAIN, Descriptor, Digest, MANIFEST_SIZE_MAX, ManifestDocument, MediaType, Reference,
};
use serde::Deserialize;

/// One repository of a registry.
pub struct Client {
    base: String,
    path: String,
    token: RefCell<Option<String>>,
}

struct Answer {
    status: u16,
    /// Lines of the last head.
    head: Vec<String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

fn is_loopback(domain: &str) -> bool {
    let host = domain.split(':').next().unwrap_or_default();
    host == "localhost" || host.starts_with("127.")
}

/// `name="value"` among the parameters of a challenge.
fn parameter(challenge: &str, name: &str) -> Option<String> {
    let start = challenge.find(&format!("{name}=\""))? + name.len() + 2;
    let end = challenge[start..].find('"')?;
    Some(challenge[start..start + end].to_string())
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Client {
    /// For the repository of a reference.
    pub fn new(from: &Reference, plain_http: bool) -> anyhow::Result<Client> {
        let domain = match from.domain() {
            // Docker Hub's own name is that of its pages.
            DEFAULT_DOMAIN => format!("index.{DEFAULT_DOMAIN}"),
            domain => domain.to_string(),
        };
        let scheme = match plain_http || is_loopback(&domain) {
            true => "http",
            false => "https",
        };
        Ok(Client {
            base: format!("{scheme}://{domain}"),
            path: from.path().to_string(),
            token: RefCell::default(),
        })
    }

    fn curl(&self, url: &str, accept: &str, bytes_max: u64) -> anyhow::Result<Answer> {
        let heads = std::env::temp_dir().join(format!("drydock-add-{}", std::process::id()));
        let mut command = Command::new("curl");
        command
            .args(["-sS", "-L", "--max-redirs", "10", "--proto", "=http,https"])
            .args(["--retry", "3", "-H", &format!("Accept: {accept}")])
            .args(["--max-filesize", &bytes_max.to_string()])
            .arg("-D")
            .arg(&heads);
        if let Some(token) = &*self.token.borrow() {
            // curl sends it to this host only, wherever it is redirected to.
            command.args(["-H", &format!("Authorization: Bearer {token}")]);
        }
        let output = command.arg(url).output().context("running curl")?;
        let head = std::fs::read_to_string(&heads).unwrap_or_default();
        let _ = std::fs::remove_file(&heads);
        if !output.status.success() {
            bail!("{url}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        // Redirects have heads of their own, before the last.
        let last = head.trim_end().replace("\r\n", "\n");
        let last = last.rsplit("\n\n").next().unwrap_or_default();
        let head: Vec<String> = last.lines().map(str::to_string).collect();
        let status = head.first().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok());
        Ok(Answer {
            status: status.with_context(|| format!("{url}: no HTTP answer"))?,
            head,
            body: output.stdout,
        })
    }

    fn get(&self, url: &str, accept: &str, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
        let mut answer = self.curl(url, accept, bytes_max)?;
        if answer.status == 401 && self.token.borrow().is_none() {
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            let challenge = challenge.to_string();
            self.anonymous(&challenge)
                .with_context(|| format!("{url}: {}", said(&answer)))?;
            answer = self.curl(url, accept, bytes_max)?;
        }
        ensure!(
            (200..300).contains(&answer.status),
            "{url}: {}",
            said(&answer)
        );
        Ok(answer.body)
    }

    /// Gets a token for somebody without a name.
    fn anonymous(&self, challenge: &str) -> anyhow::Result<()> {
        let bearer = challenge.to_ascii_lowercase().starts_with("bearer ");
        ensure!(bearer, "the registry wants a password");
        let realm = parameter(challenge, "realm").context("a challenge without a realm")?;
        let service = parameter(challenge, "service").unwrap_or_default();
        let joint = if realm.contains('?') { '&' } else { '?' };
        let url = format!(
            "{realm}{joint}service={}&scope=repository:{}:pull",
            service.replace(' ', "%20"),
            self.path
        );
        let answer = self.curl(&url, "application/json", 1 << 20)?;
        ensure!(answer.status == 200, "{url}: {}", said(&answer));
        let token: Token = serde_json::from_slice(&answer.body).context("the token")?;
        let token = token.token.or(token.access_token);
        *self.token.borrow_mut() = Some(token.context("an answer without a token")?);
        Ok(())
    }

    /// The document of a tag or digest.
    pub fn manifest(&self, name: &str) -> anyhow::Result<(Digest, ManifestDocument)> {
        let url = format!("{}/v2/{}/manifests/{name}", self.base, self.path);
        let accept = [
            MediaType::INDEX,
            MediaType::MANIFEST,
            MediaType::DOCKER_LIST,
            MediaType::DOCKER_MANIFEST,
        ];
        let bytes = self.get(&url, &accept.join(", "), MANIFEST_SIZE_MAX as u64)?;
        let digest = Digest::of(&bytes);
        if let Ok(wanted) = name.parse::<Digest>() {
            ensure!(
                wanted == digest,
                "manifest verification failed for digest {wanted}"
            );
        }
        Ok((
            digest,
            ManifestDocument::parse(&bytes).context("the manifest")?,
        ))
    }

    /// A blob, verified.
    pub fn blob(&self, descriptor: &Descriptor) -> anyhow::Result<Vec<u8>> {
        let url = format!("{}/v2/{}/blobs/{}", self.base, self.path, descriptor.digest);
        let bytes = self.get(&url, "*/*", descriptor.size)?;
        ensure!(
            Digest::of(&bytes) == descriptor.digest,
            "verification failed for digest {}",
            descriptor.digest
        );
        Ok(bytes)
    }
}

/// What an answer that is an error says.
fn said(answer: &Answer) -> String {
    let body = serde_json::from_slice::<oci::ErrorBody>(&answer.body).unwrap_or_default();
    let errors = body.errors.iter();
    let errors: Vec<String> = errors
        .map(|error| format!("{}: {}", error.code, error.message))
        .collect();
    match errors.is_empty() {
        true => format!("HTTP status {}", answer.status),
        false => errors.join("; "),
    }
}
