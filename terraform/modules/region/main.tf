# What a region of the fleet needs before a tenant can live in it: a key that never leaves it, subnets for
# databases without any way to the internet, their settings, a cluster for tasks, the secret for the tenant
# app's API key, and the first shared servers. Further servers are the control plane's work.

module "key" {
  source      = "../key"
  name        = "fleet/${var.region}"
  description = "Data at rest of the fleet's region ${var.region}: databases, backups, secrets, logs"
  tags        = var.tags
}

resource "aws_subnet" "database" {
  for_each                = var.database_cidrs
  vpc_id                  = var.vpc_id
  availability_zone       = each.key
  cidr_block              = each.value
  map_public_ip_on_launch = false
  tags                    = merge(local.tags, { Name = "${local.name}-database-${each.key}" })
}

# No route but the network's own; a peering adds one for the control plane of another region.
resource "aws_route_table" "database" {
  vpc_id = var.vpc_id
  tags   = merge(local.tags, { Name = "${local.name}-database" })
}

resource "aws_route_table_association" "database" {
  for_each       = aws_subnet.database
  subnet_id      = each.value.id
  route_table_id = aws_route_table.database.id
}

module "site" {
  source                 = "../database-site"
  name                   = local.name
  vpc_id                 = var.vpc_id
  subnet_ids             = [for subnet in aws_subnet.database : subnet.id]
  client_security_groups = var.client_security_groups
  client_networks        = var.client_networks
  tags                   = var.tags
}

module "server" {
  source         = "../database-server"
  for_each       = var.servers
  name           = "fleet-${each.key}"
  site           = module.site
  kms_key_arn    = module.key.arn
  instance_class = each.value.instance_class
  storage_gib    = each.value.storage_gib
  standby        = each.value.standby
  tenant         = each.value.tenant
  tags           = var.tags
}

resource "aws_secretsmanager_secret" "app_token" {
  #checkov:skip=CKV2_AWS_57:the API key is made and changed by the control plane, not by a function of AWS
  name                    = "fleet/apps/${var.region}/token"
  description             = "API key of the region's tenant app; made with `fleet key create`"
  kms_key_id              = module.key.arn
  recovery_window_in_days = 30
  tags                    = local.tags
}

resource "aws_ecs_cluster" "this" {
  name = local.name
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
  tags = local.tags
}

locals {
  name = "fleet-${var.region}"
  tags = merge(var.tags, { "fleet:component" = "region", "fleet:region" = var.region })
}
