# The registry: the one database that is the truth about the fleet. Its own site and server, and the secret from
# which the control plane reads the registry's URL. The secret is made empty; its value never passes Terraform.

module "site" {
  source                 = "../database-site"
  name                   = local.name
  vpc_id                 = var.vpc_id
  subnet_ids             = var.subnet_ids
  client_security_groups = var.client_security_groups
  tags                   = var.tags
}

module "server" {
  source              = "../database-server"
  name                = local.name
  component           = "registry"
  site                = module.site
  kms_key_arn         = var.kms_key_arn
  database            = "fleet_registry"
  instance_class      = var.instance_class
  storage_gib         = var.storage_gib
  standby             = true
  deletion_protection = var.deletion_protection
  backup_days         = 35
  tags                = var.tags
}

resource "aws_secretsmanager_secret" "url" {
  #checkov:skip=CKV2_AWS_57:the login's password is changed by a person or by the fleet, not by a function of AWS
  name                    = "fleet/control-plane/registry-url"
  description             = "URL of the registry with login and password; FLEET_REGISTRY_URL of the control plane"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = 30
  tags                    = merge(var.tags, { "fleet:component" = "registry" })
}

locals {
  name = "fleet-registry"
}
