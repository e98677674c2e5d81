# A fleet with two regions: eu in Frankfurt, with the control plane and the registry, and us in Virginia. Data,
# backups, credentials and keys of a region stay in it; between the two go the route feed and the work of the
# control plane on servers, through a peering.

provider "aws" {
  region = local.aws_regions.eu
  default_tags {
    tags = { "fleet:region" = "eu", "fleet:fleet" = var.fleet }
  }
}

provider "aws" {
  alias  = "us"
  region = local.aws_regions.us
  default_tags {
    tags = { "fleet:region" = "us", "fleet:fleet" = var.fleet }
  }
}

locals {
  aws_regions       = { eu = "eu-central-1", us = "us-east-1" }
  cidrs             = { eu = "10.10.0.0/16", us = "10.20.0.0/16" }
  control_plane_url = "https://${var.control_plane.host}"
}

module "eu" {
  source                 = "./one-region"
  fleet_name             = var.fleet
  region                 = "eu"
  cidr                   = local.cidrs.eu
  control_plane_url      = local.control_plane_url
  app                    = var.apps.eu
  servers                = { "eu-1" = {} }
  database_clients       = module.control_plane.security_group_ids
  further_services       = module.control_plane.services
  further_load_balancers = { api = module.control_plane.load_balancer }
  further_servers        = [module.registry.identifier]
}

module "us" {
  source                   = "./one-region"
  providers                = { aws = aws.us }
  fleet_name               = var.fleet
  region                   = "us"
  cidr                     = local.cidrs.us
  control_plane_url        = local.control_plane_url
  app                      = var.apps.us
  servers                  = { "us-1" = {} }
  database_client_networks = { "control plane" = local.cidrs.eu }
}

module "registry" {
  source                 = "../../modules/registry"
  vpc_id                 = module.eu.network.vpc_id
  subnet_ids             = module.eu.network.private_subnet_ids
  client_security_groups = module.control_plane.security_group_ids
  kms_key_arn            = module.eu.region.kms_key_arn
}

module "control_plane" {
  source                  = "../../modules/control-plane"
  fleet_name              = var.fleet
  cluster                 = module.eu.region.cluster
  vpc_id                  = module.eu.network.vpc_id
  vpc_cidr                = local.cidrs.eu
  private_subnet_ids      = module.eu.network.private_subnet_ids
  database_networks       = local.cidrs
  allowed_cidrs           = concat(values(local.cidrs), var.office_cidrs)
  host                    = var.control_plane.host
  certificate_arn         = var.control_plane.certificate_arn
  image                   = var.control_plane.image
  image_repository_arn    = var.control_plane.repository_arn
  registry_url_secret_arn = module.registry.url_secret_arn
  kms_key_arn             = module.eu.region.kms_key_arn
  allow_exec              = var.allow_exec

  regions = { for name, region in { eu = module.eu.region, us = module.us.region } : name => {
    aws_region           = local.aws_regions[name]
    kms_key_arn          = region.kms_key_arn
    db_subnet_group_name = region.site.db_subnet_group_name
    parameter_group_name = region.site.parameter_group_name
    security_group_id    = region.site.security_group_id
    engine_major         = region.site.engine_major
  } }
}
