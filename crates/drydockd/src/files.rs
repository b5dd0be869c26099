//! The playground's downloads, answered from a folder.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::bail;
use playground::internet::Hint;
use playground::{FetchRequest, Fetched, Playground};

/// Fails with what to do when there are no images.
pub fn check(images: &Path) -> anyhow::Result<()> {
    if !images.join("v2").is_dir() {
        bail!(
            "no images in {}: run `cargo xtask images` first",
            images.display()
        );
    }
    Ok(())
}

/// Answers all requests; true when there were any.
pub fn answer(playground: &Playground, images: &Path) -> bool {
    let requests = playground.take_requests();
    let any = !requests.is_empty();
    for request in requests {
        let answer = read(images, &request).map_err(|error| error.to_string());
        playground.fetched(request.id, answer);
    }
    any
}

/// What the page says in a notice.
pub fn hint(hint: &Hint) -> String {
    match hint {
        Hint::NoInternet { name } => format!(
            "drydock: {name} is on the Internet, and a playground has none: its names are its machines and \
             packages.drydock (apt-get, pip, npm). `docker search` lists the images. The page has a gateway in its \
             settings; drydockd has not."
        ),
        Hint::NoPackage { name, list } => format!(
            "drydock: {name} is not among this playground's packages: `curl {list}` has the list"
        ),
        Hint::NoTls => "drydock: HTTPS cannot be passed on".to_string(),
    }
}

/// Carries one request out.
pub fn read(images: &Path, request: &FetchRequest) -> std::io::Result<Fetched> {
    let mut file = match File::open(images.join(&request.path)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Fetched {
                status: 404,
                body: Vec::new().into(),
            });
        }
        Err(error) => return Err(error),
    };
    let mut body = Vec::new();
    let Some((first, last)) = request.range else {
        file.read_to_end(&mut body)?;
        return Ok(Fetched {
            status: 200,
            body: body.into(),
        });
    };
    if first >= file.metadata()?.len() {
        return Ok(Fetched {
            status: 416,
            body: Vec::new().into(),
        });
    }
    file.seek(SeekFrom::Start(first))?;
    file.take(last.saturating_sub(first).saturating_add(1))
        .read_to_end(&mut body)?;
    Ok(Fetched {
        status: 206,
        body: body.into(),
    })
}
