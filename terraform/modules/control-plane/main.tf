# The control plane: its API behind a load balancer, its workers without one, and the data folder that they
# share. Both have one role's worth of rights, since an operation may be carried on by either.
# Two calls and no for_each: that would make the security groups wait for all that needs them, which is a cycle.

module "api" {
  source               = "../service"
  name                 = "fleet-api"
  arguments            = ["--role", "api"]
  port                 = local.port
  tasks                = var.api_tasks
  component            = local.component
  cluster              = var.cluster
  vpc_id               = var.vpc_id
  subnet_ids           = var.private_subnet_ids
  image                = var.image
  image_repository_arn = var.image_repository_arn
  environment          = local.environment
  secrets              = local.secrets
  data_volume          = local.data_volume
  egress               = local.egress
  task_policies        = local.task_policies
  kms_key_arn          = var.kms_key_arn
  allow_exec           = var.allow_exec
  tags                 = var.tags

  load_balancer = {
    internal            = true
    subnet_ids          = var.private_subnet_ids
    certificate_arn     = var.certificate_arn
    allowed_cidrs       = var.allowed_cidrs
    deletion_protection = var.deletion_protection
  }
}

module "worker" {
  source               = "../service"
  name                 = "fleet-worker"
  arguments            = ["--role", "worker"]
  tasks                = var.worker_tasks
  component            = local.component
  cluster              = var.cluster
  vpc_id               = var.vpc_id
  subnet_ids           = var.private_subnet_ids
  image                = var.image
  image_repository_arn = var.image_repository_arn
  environment          = local.environment
  secrets              = local.secrets
  data_volume          = local.data_volume
  egress               = local.egress
  task_policies        = local.task_policies
  kms_key_arn          = var.kms_key_arn
  allow_exec           = var.allow_exec
  tags                 = var.tags
}

locals {
  component = "control-plane"
  port      = 4600
  data_path = "/var/lib/flotilla"

  # Regions are made with `fleet region create`, with domains that a start of one's own does not know.
  environment = merge({
    FLEET_HOST               = "0.0.0.0"
    FLEET_PORT               = tostring(local.port)
    FLEET_DATA_DIR           = local.data_path
    FLEET_REGIONS            = "none"
    FLEET_DEMO               = "off"
    FLEET_SECRET_STORE       = "aws"
    FLEET_NAME               = var.fleet_name
    FLEET_ROTATION_POLICY    = var.rotation_policy
    FLEET_KEY_RETENTION_DAYS = tostring(var.key_retention_days)
    FLEET_AWS_REGIONS        = join(",", [for name, region in var.regions : "${name}=${region.aws_region}"])
    FLEET_RDS_SITES = jsonencode({ for name, region in var.regions : name => {
      subnetGroup    = region.db_subnet_group_name
      parameterGroup = region.parameter_group_name
      securityGroups = [region.security_group_id]
      kmsKey         = region.kms_key_arn
      engineVersion  = tostring(region.engine_major)
    } })
  }, var.environment)
  secrets = { FLEET_REGISTRY_URL = var.registry_url_secret_arn }

  data_volume = {
    file_system_id  = aws_efs_file_system.data.id
    access_point_id = aws_efs_access_point.data.id
    path            = local.data_path
  }
  egress = merge(
    { for name, cidr in var.database_networks : "databases of ${name}" => { cidr = cidr, port = 5432 } },
    { "registry" = { cidr = var.vpc_cidr, port = 5432 }, "data folder" = { cidr = var.vpc_cidr, port = 2049 } },
  )
  task_policies = {
    run-the-fleet = data.aws_iam_policy_document.task.json
    run-servers   = data.aws_iam_policy_document.servers.json
    behind-calls  = data.aws_iam_policy_document.behind.json
    data-folder   = data.aws_iam_policy_document.data_folder.json
  }
}
