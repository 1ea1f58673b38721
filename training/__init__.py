"""Training of the bundled teacher from nothing: data, text encoder, latent, UNet, ControlNets, package."""
