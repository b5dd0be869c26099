//! A client of the OCI distribution API: over a [`Service`] for the playground's static tree, over the
//! machine's network for registries in containers and on other machines.
//!
//! A [`Registry`] knows the ways; an [`Endpoint`] is one way to one registry; a [`Repository`] is an
//! endpoint that was spoken to, with what it wants to know about us.

pub mod auth;
mod dns;
mod error;
mod network;
mod repository;
pub mod settings;

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use oci::{DEFAULT_DOMAIN, Digest, ManifestDocument, Reference};
use os::Os;
use serve::{Body, Response, Service};

pub use auth::Credentials;
pub use error::{RegistryError, with_text};
pub use repository::{Access, MANIFEST_TYPES, Repository};
pub use settings::Settings;

use network::Network;

/// How requests reach a registry.
#[derive(Clone)]
enum Via {
    /// Files that need no network: the service takes `http://DOMAIN/v2/…`.
    Service(Rc<dyn Service>),
    /// The machine's network.
    Network(Rc<Network>),
}

/// One way to a registry.
#[derive(Clone)]
pub struct Endpoint {
    via: Via,
    /// `http://HOST[:PORT]`.
    base: String,
    /// It stands in for another registry: what it does not have may be there.
    pub mirror: bool,
}

impl Endpoint {
    /// `http://HOST[:PORT]`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// True for the playground's own files.
    #[must_use]
    pub fn is_static(&self) -> bool {
        matches!(self.via, Via::Service(_))
    }
}

/// Registries. Clones share the ways, not the credentials.
#[derive(Clone)]
pub struct Registry {
    service: Rc<dyn Service>,
    network: Option<Rc<Network>>,
    credentials: Credentials,
    /// Credentials by registry; before those for all.
    by_host: Rc<BTreeMap<String, Credentials>>,
}

impl Registry {
    /// Registries that `service` leads to. Requests carry `http://DOMAIN/v2/…`.
    #[must_use]
    pub fn new(service: Rc<dyn Service>) -> Registry {
        Registry {
            service,
            network: None,
            credentials: Credentials::default(),
            by_host: Rc::default(),
        }
    }

    /// With those that the network of a machine leads to.
    #[must_use]
    pub fn with_network(mut self, os: &Rc<dyn Os>) -> Registry {
        self.network = Some(Rc::new(Network { os: Rc::clone(os) }));
        self
    }

    /// The same registries, for somebody (`X-Registry-Auth`).
    #[must_use]
    pub fn with_credentials(&self, credentials: Credentials) -> Registry {
        Registry {
            credentials,
            ..self.clone()
        }
    }

    /// The same registries, for somebody who is known to several of them (`X-Registry-Config`).
    #[must_use]
    pub fn with_credentials_by_host(&self, by_host: BTreeMap<String, Credentials>) -> Registry {
        Registry {
            by_host: Rc::new(by_host),
            ..self.clone()
        }
    }

    fn credentials_for(&self, domain: &str) -> Credentials {
        let address = match domain {
            DEFAULT_DOMAIN => "https://index.docker.io/v1/",
            domain => domain,
        };
        let known = self.by_host.iter().find(|(host, _)| {
            let bare = |text: &str| {
                let text = text.trim_start_matches("https://");
                text.trim_start_matches("http://").to_string()
            };
            *host == address || bare(host).split('/').next() == Some(domain)
        });
        known.map_or_else(|| self.credentials.clone(), |(_, known)| known.clone())
    }

    /// What the daemon is told about registries, now.
    pub async fn settings(&self) -> Settings {
        match &self.network {
            Some(network) => network.settings().await,
            None => Settings::default(),
        }
    }

    fn files(&self, domain: &str) -> Endpoint {
        Endpoint {
            via: Via::Service(Rc::clone(&self.service)),
            base: format!("http://{domain}"),
            mirror: false,
        }
    }

    /// The ways to a registry (`docker.io`, `localhost:5000`), best first. Mirrors are for pulls only.
    pub async fn endpoints(&self, domain: &str, mirrors: bool) -> Vec<Endpoint> {
        let Some(network) = &self.network else {
            return vec![self.files(domain)];
        };
        let settings = network.settings().await;
        let way = |base: String, mirror| Endpoint {
            via: Via::Network(Rc::clone(network)),
            base,
            mirror,
        };
        if domain == DEFAULT_DOMAIN {
            let listed = settings.mirrors.iter().filter(|_| mirrors);
            let listed = listed.map(|url| way(url.trim_end_matches('/').to_string(), true));
            return listed.chain([self.files(domain)]).collect();
        }
        let host = match domain.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => domain.split(':').next().unwrap_or_default(),
        };
        // A public registry's name without a port: what the playground has of it lies among its files.
        let public = domain.parse::<std::net::IpAddr>().is_err()
            && !domain.contains(':')
            && host != "localhost"
            && !network.in_hosts(host).await;
        if public {
            return vec![self.files(domain)];
        }
        let addresses = network.lookup(host).await.unwrap_or_default();
        let mut ways = vec![way(format!("https://{domain}"), false)];
        if settings.allows_plain(domain, &addresses) {
            ways.push(way(format!("http://{domain}"), false));
        }
        ways
    }

    /// A repository at an endpoint, once its registry has said what it wants to know.
    pub async fn open(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        access: Access,
    ) -> Result<Repository, RegistryError> {
        let credentials = match endpoint.mirror {
            true => Credentials::default(),
            false => self.credentials_for(reference.domain()),
        };
        Repository::open(endpoint, reference, access, credentials).await
    }

    /// Does something with a repository over the first way that works.
    pub async fn over<T, E: From<RegistryError>>(
        &self,
        reference: &Reference,
        access: Access,
        work: impl AsyncFn(&Repository) -> Result<T, E>,
    ) -> Result<T, E> {
        let endpoints = self.endpoints(reference.domain(), access == Access::Pull);
        let mut last = None;
        for endpoint in endpoints.await {
            let repository = match self.open(&endpoint, reference, access).await {
                Ok(repository) => repository,
                Err(error) => {
                    last = Some(error.into());
                    continue;
                }
            };
            match work(&repository).await {
                Err(error) if endpoint.mirror => last = Some(error),
                outcome => return outcome,
            }
        }
        Err(last.unwrap_or_else(|| RegistryError::Transport("no endpoints".to_string()).into()))
    }

    /// The manifest document of a tag or digest, and its digest.
    pub async fn manifest(
        &self,
        reference: &Reference,
    ) -> Result<(ManifestDocument, Digest, Bytes), RegistryError> {
        self.over(reference, Access::Pull, async |repository: &Repository| {
            repository.manifest(reference).await
        })
        .await
    }

    /// All tags of a repository.
    pub async fn tags(&self, reference: &Reference) -> Result<Vec<String>, RegistryError> {
        self.over(reference, Access::Pull, async |repository: &Repository| {
            repository.tags().await
        })
        .await
    }

    /// A document of the default registry, such as the catalogue.
    pub async fn document(
        &self,
        reference: &Reference,
        path: &str,
    ) -> Result<Vec<u8>, RegistryError> {
        let files = self.files(DEFAULT_DOMAIN);
        let repository = self.open(&files, reference, Access::Pull).await?;
        repository.document(path).await
    }

    /// `GET` of any URL over the machine's network. Redirections are the caller's business.
    pub async fn get(&self, url: &str) -> Result<Response, String> {
        let failed = |why: &str| format!("Get \"{url}\": {why}");
        let network = self.network.as_ref();
        let network = network.ok_or_else(|| failed("network is unreachable"))?;
        let request = http::Request::get(url).body(Body::empty());
        let request = request.map_err(|_| failed("invalid URL"))?;
        network.send(request).await.map_err(|why| failed(&why))
    }

    /// `docker login`: whether a registry takes who we say we are.
    pub async fn login(
        &self,
        domain: &str,
        credentials: &Credentials,
    ) -> Result<(), RegistryError> {
        let mut last = RegistryError::Transport("no endpoints".to_string());
        for endpoint in self.endpoints(domain, false).await {
            match repository::login(&endpoint, credentials).await {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
