//! Images as stacks of layers: what they have in common is one block with several stacks on it.
//!
//! Layers form a tree, as they do on the disk: a layer is its difference *and* what it lies on. An image is a path
//! from a base up. Sizes and instructions are the history's; which of its steps made a layer the API does not say
//! where the layer is empty, so those are told by their instruction.

use super::{Image, Step};

/// A layer, and what lies on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Its diff id.
    pub id: String,
    /// What made it.
    pub step: Step,
    /// The numbers of the images that have it, in the list's order.
    pub images: Vec<usize>,
    /// Those whose uppermost layer it is.
    pub tops: Vec<usize>,
    /// Layers on it.
    pub above: Vec<Layer>,
}

impl Layer {
    /// Bytes of it and of all that lies on it.
    pub fn bytes(&self) -> u64 {
        self.step.size + self.above.iter().map(Layer::bytes).sum::<u64>()
    }

    /// The layer with this path of places from here.
    pub fn at(&self, path: &[usize]) -> Option<&Layer> {
        match path {
            [] => Some(self),
            [first, rest @ ..] => self.above.get(*first)?.at(rest),
        }
    }
}

/// The steps that made layers, base first: as many as there are layers.
pub fn layer_steps(layers: &[String], history: &[Step]) -> Vec<Step> {
    let steps: Vec<&Step> = history.iter().rev().collect();
    let (filled, mut others): (Vec<usize>, Vec<usize>) =
        (0..steps.len()).partition(|&at| steps[at].size > 0);
    // Of steps without bytes those are layers first whose instruction writes files.
    others.sort_by_key(|&at| !writes_files(&steps[at].created_by));
    others.truncate(layers.len().saturating_sub(filled.len()));
    let mut chosen = [filled, others].concat();
    chosen.sort_unstable();
    let mut chosen: Vec<Step> = chosen.into_iter().map(|at| steps[at].clone()).collect();
    // An image without a history has layers all the same.
    chosen.resize(layers.len(), Step::default());
    chosen
}

fn writes_files(instruction: &str) -> bool {
    let instruction = instruction.trim_start_matches("/bin/sh -c ");
    let instruction = instruction.trim_start_matches("#(nop)").trim_start();
    let known = [
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "LABEL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "ARG",
        "HEALTHCHECK",
        "MAINTAINER",
        "ONBUILD",
        "SHELL",
    ];
    !known.iter().any(|word| instruction.starts_with(word))
}

/// The bases of all images, with everything that lies on them.
pub fn stacks(images: &[Image]) -> Vec<Layer> {
    let mut ground = Layer::default();
    for (number, image) in images.iter().enumerate() {
        let mut at = &mut ground;
        for (id, step) in image
            .layers
            .iter()
            .zip(layer_steps(&image.layers, &image.history))
        {
            let place = match at.above.iter().position(|layer| layer.id == *id) {
                Some(place) => place,
                None => {
                    at.above.push(Layer {
                        id: id.clone(),
                        step,
                        ..Layer::default()
                    });
                    at.above.len() - 1
                }
            };
            at = &mut at.above[place];
            at.images.push(number);
        }
        at.tops.push(number);
    }
    ground.above
}

/// Bytes on the disk, and how many there would be if nothing was shared.
pub fn totals(images: &[Image], stacks: &[Layer]) -> (u64, u64) {
    let disk = stacks.iter().map(Layer::bytes).sum();
    (disk, images.iter().map(|image| image.size).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, layers: &[&str], steps: &[(&str, u64)]) -> Image {
        Image {
            repo_tags: vec![name.to_owned()],
            size: steps.iter().map(|(_, size)| size).sum(),
            layers: layers.iter().map(|&layer| layer.to_owned()).collect(),
            // The API has the newest first.
            history: steps
                .iter()
                .rev()
                .map(|&(created_by, size)| Step {
                    created_by: created_by.to_owned(),
                    size,
                    ..Step::default()
                })
                .collect(),
            ..Image::default()
        }
    }

    #[test]
    fn what_images_have_in_common_is_one_block() {
        let debian = [("ADD rootfs", 100), ("CMD [\"bash\"]", 0)];
        let mut python = debian.to_vec();
        python.extend([("ENV A=b", 0), ("RUN install", 40), ("CMD python", 0)]);
        let mut redis = debian.to_vec();
        redis.push(("RUN redis", 10));
        let images = [
            image("debian", &["d"], &debian),
            image("python", &["d", "p"], &python),
            image("redis", &["d", "r"], &redis),
            image("busybox", &["b"], &[("ADD busybox", 2)]),
        ];
        let stacks = stacks(&images);
        assert_eq!(stacks.len(), 2);
        let base = &stacks[0];
        assert_eq!(
            (&base.images[..], &base.tops[..]),
            (&[0, 1, 2][..], &[0][..])
        );
        assert_eq!(base.step.created_by, "ADD rootfs");
        assert_eq!(base.at(&[0]).unwrap().step.created_by, "RUN install");
        assert_eq!(base.at(&[1]).unwrap().tops, [2]);
        assert_eq!(base.at(&[2]), None);
        assert_eq!(totals(&images, &stacks), (152, 352));
    }

    #[test]
    fn an_empty_layer_is_told_by_its_instruction() {
        let steps = [
            ("COPY . /", 5),
            ("/bin/sh -c #(nop)  ENV A=b", 0),
            ("WORKDIR /app", 0),
            ("/bin/sh -c #(nop) CMD [\"x\"]", 0),
            ("RUN make", 7),
        ];
        let image = image("x", &["1", "2", "3"], &steps);
        let found: Vec<String> = layer_steps(&image.layers, &image.history)
            .into_iter()
            .map(|it| it.created_by)
            .collect();
        assert_eq!(found, ["COPY . /", "WORKDIR /app", "RUN make"]);
        let bare = Image {
            layers: vec!["1".to_owned()],
            ..Image::default()
        };
        assert_eq!(layer_steps(&bare.layers, &bare.history), [Step::default()]);
    }
}
