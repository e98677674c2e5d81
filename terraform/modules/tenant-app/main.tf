# The tenant app of one region: behind a public load balancer, with a role that can read the credentials of
# this region's tenants, and nothing of any other region.

module "service" {
  source               = "../service"
  name                 = "fleet-app-${var.region}"
  component            = "tenant-app"
  cluster              = var.cluster
  vpc_id               = var.vpc_id
  subnet_ids           = var.private_subnet_ids
  image                = var.image
  image_repository_arn = var.image_repository_arn
  port                 = local.port
  tasks                = var.tasks
  cpu                  = var.cpu
  memory_mib           = var.memory_mib
  kms_key_arn          = var.kms_key_arn
  secret_files         = { "app.token" = var.token_secret_arn }
  task_policies = {
    read-credentials = data.aws_iam_policy_document.task.json
    behind-calls     = data.aws_iam_policy_document.behind.json
  }
  tags = merge(var.tags, { "fleet:region" = var.region })

  # X-Forwarded-Host counts only from a trusted proxy; this load balancer passes visitors' own on, so none is.
  environment = merge({
    FLEET_REGION          = var.region
    FLEET_URL             = var.control_plane_url
    FLEET_TOKEN_FILE      = "/run/flotilla/app.token"
    FLEET_APP_HOST        = "0.0.0.0"
    FLEET_APP_PORT        = tostring(local.port)
    FLEET_APP_CONNECTIONS = tostring(var.connections)
    FLEET_SECRET_STORE    = "aws"
    FLEET_AWS_REGIONS     = "${var.region}=${local.aws_region}"
  }, var.environment)

  load_balancer = {
    internal            = false
    subnet_ids          = var.public_subnet_ids
    certificate_arn     = var.certificate_arn
    allowed_cidrs       = ["0.0.0.0/0"]
    deletion_protection = var.deletion_protection
  }

  egress = { for zone, cidr in var.database_cidrs : "databases in ${zone}" => { cidr = cidr, port = 5432 } }
}

locals {
  port = 4700
}
