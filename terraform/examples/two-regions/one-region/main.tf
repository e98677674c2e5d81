# Everything of one region: its network, its place for databases, its tenant app, its alarms. The example uses it
# twice, with the provider of either region; nothing in it names another region.

data "aws_availability_zones" "this" {
  state = "available"
  # No local zones, which have no RDS.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

module "network" {
  source             = "../../../modules/network"
  name               = "fleet-${var.region}"
  cidr               = var.cidr
  availability_zones = slice(sort(data.aws_availability_zones.this.names), 0, 3)
  kms_key_arn        = module.region.kms_key_arn
}

module "region" {
  source                 = "../../../modules/region"
  region                 = var.region
  vpc_id                 = module.network.vpc_id
  database_cidrs         = module.network.database_cidrs
  client_security_groups = merge({ "tenant app" = module.app.security_group_id }, var.database_clients)
  client_networks        = var.database_client_networks
  servers                = var.servers
}

module "app" {
  source               = "../../../modules/tenant-app"
  fleet_name           = var.fleet_name
  region               = var.region
  control_plane_url    = var.control_plane_url
  cluster              = module.region.cluster
  vpc_id               = module.network.vpc_id
  public_subnet_ids    = module.network.public_subnet_ids
  private_subnet_ids   = module.network.private_subnet_ids
  database_cidrs       = module.network.database_cidrs
  image                = var.app.image
  image_repository_arn = var.app.repository_arn
  certificate_arn      = var.app.certificate_arn
  token_secret_arn     = module.region.app_token_secret_arn
  kms_key_arn          = module.region.kms_key_arn
  deletion_protection  = var.deletion_protection
}

module "observability" {
  source             = "../../../modules/observability"
  name               = "fleet-${var.region}"
  cluster_name       = module.region.cluster.name
  services           = concat([module.app.service], var.further_services)
  load_balancers     = merge({ app = module.app.load_balancer }, var.further_load_balancers)
  server_identifiers = concat(module.region.server_identifiers, var.further_servers)
  kms_key_arn        = module.region.kms_key_arn
}
