variable "fleet_name" {
  description = "Name of the fleet (FLEET_NAME): begins the names of secrets and keys of its tenants and servers, and is their tag `fleet:fleet`."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.fleet_name))
    error_message = "A fleet's name has 1 to 31 small letters, digits and dashes."
  }
}

variable "regions" {
  description = "The fleet's regions by name: the name that AWS has for each, its key and where its servers stand (outputs of the region module)."
  type = map(object({
    aws_region           = string
    kms_key_arn          = string
    db_subnet_group_name = string
    parameter_group_name = string
    security_group_id    = string
    engine_major         = number
  }))
  validation {
    condition     = length(var.regions) > 0
    error_message = "A fleet has at least one region."
  }
  validation {
    condition     = alltrue([for region in var.regions : can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", region.aws_region))])
    error_message = "aws_region is the name of a region of AWS, such as eu-central-1."
  }
  validation {
    condition     = alltrue([for region in var.regions : can(regex(":kms:${region.aws_region}:", region.kms_key_arn))])
    error_message = "A region's key must be in that region: residency depends on it."
  }
}

variable "rotation_policy" {
  description = "How long credentials of databases serve before they are rotated (FLEET_ROTATION_POLICY): 90d for all, pairs such as standard=90d,premium=30d for some tiers, or off."
  type        = string
  default     = "90d"
  validation {
    condition     = can(regex("^(off|[1-9][0-9]{0,3}[dh]|(standard|premium|enterprise)=[1-9][0-9]{0,3}[dh](,(standard|premium|enterprise)=[1-9][0-9]{0,3}[dh]){0,2})$", var.rotation_policy))
    error_message = "Give a time such as 90d or 12h, pairs such as premium=30d, by commas, or off."
  }
}

variable "key_retention_days" {
  description = "Days between the deletion of a tenant and the end of its key (FLEET_KEY_RETENTION_DAYS)."
  type        = number
  default     = 30
  validation {
    condition     = var.key_retention_days >= 7 && var.key_retention_days <= 30 && floor(var.key_retention_days) == var.key_retention_days
    error_message = "KMS keeps keys for 7 to 30 whole days."
  }
}

variable "cluster" {
  description = "ECS cluster; `cluster` of the region module."
  type        = object({ arn = string, name = string })
}

variable "vpc_id" {
  description = "Network of the control plane."
  type        = string
}

variable "vpc_cidr" {
  description = "Its addresses; the registry and the data folder are there."
  type        = string
  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0))
    error_message = "Give an IPv4 block."
  }
}

variable "private_subnet_ids" {
  description = "Subnets for the tasks, the load balancer and the data folder."
  type        = list(string)
}

variable "database_networks" {
  description = "Where servers of all regions are: a name for people to an IPv4 block."
  type        = map(string)
}

variable "allowed_cidrs" {
  description = "Networks of people and tenant apps that may reach the API. It has no public address."
  type        = list(string)
  validation {
    condition     = length(var.allowed_cidrs) > 0 && !contains(var.allowed_cidrs, "0.0.0.0/0")
    error_message = "Name the networks that need the API; it is not for the internet."
  }
}

variable "certificate_arn" {
  description = "Certificate for the API's host name, in ACM of this region."
  type        = string
  validation {
    condition     = can(regex("^arn:[a-z-]+:acm:", var.certificate_arn))
    error_message = "Give the ARN of a certificate in ACM."
  }
}

variable "host" {
  description = "Host name of the API, which the certificate is for; its DNS record points at the load balancer."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", var.host))
    error_message = "Give a host name, such as fleet.example.com."
  }
}

variable "registry_url_secret_arn" {
  description = "Secret with the registry's URL; `url_secret_arn` of the registry module."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the control plane's region: its log, its data folder, its secrets."
  type        = string
}

variable "image" {
  description = "Image of the control plane, by digest."
  type        = string
}

variable "image_repository_arn" {
  description = "ECR repository that holds the image."
  type        = string
}

variable "environment" {
  description = "Further variables of the program. Nothing secret."
  type        = map(string)
  default     = {}
}

variable "api_tasks" {
  description = "Tasks of the API at least and at most."
  type        = object({ min = number, max = number })
  default     = { min = 2, max = 6 }
}

variable "worker_tasks" {
  description = "Workers at least and at most. Of two, one goes on when the other dies."
  type        = object({ min = number, max = number })
  default     = { min = 2, max = 6 }
}

variable "allow_exec" {
  description = "Whether people may open a shell in a task (ECS Exec). On for the first start, to read the admin's token."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Whether the load balancer refuses to be deleted."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags beside the provider's default tags."
  type        = map(string)
  default     = {}
}
