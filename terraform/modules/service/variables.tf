variable "name" {
  description = "Name of the service and of all that belongs to it, e.g. `fleet-app-eu`."
  type        = string
  validation {
    condition     = can(regex("^fleet-[a-z0-9-]{1,26}$", var.name))
    error_message = "The name begins with fleet- and has at most 32 small letters, digits and dashes: load balancers take no more."
  }
}

variable "component" {
  description = "Which program it is, for the tag `fleet:component`."
  type        = string
}

variable "cluster" {
  description = "ECS cluster; `cluster` of the region module."
  type        = object({ arn = string, name = string })
}

variable "vpc_id" {
  description = "Network of the tasks."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets for the tasks."
  type        = list(string)
}

variable "image" {
  description = "Image of the program, by digest."
  type        = string
  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Name the image by digest (…@sha256:…): a tag may mean another program tomorrow."
  }
}

variable "image_repository_arn" {
  description = "ECR repository that holds the image."
  type        = string
  validation {
    condition     = can(regex("^arn:[a-z-]+:ecr:", var.image_repository_arn))
    error_message = "Give the ARN of an ECR repository."
  }
}

variable "arguments" {
  description = "Arguments of the program."
  type        = list(string)
  default     = []
}

variable "environment" {
  description = "Variables of the program. Nothing secret."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for name in keys(var.environment) : !can(regex("(PASSWORD|SECRET_KEY|TOKEN|REGISTRY_URL)$", name))])
    error_message = "Passwords, tokens and the registry's URL are secrets: give them by secrets or secret_files."
  }
}

variable "secrets" {
  description = "Variables of the program that are secret: name to the ARN of a secret of Secrets Manager."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for arn in values(var.secrets) : can(regex("^arn:[a-z-]+:secretsmanager:", arn))])
    error_message = "Give ARNs of secrets, never their values."
  }
}

variable "secret_files" {
  description = "Secrets that the program reads from files: name of a file in /run/flotilla to the ARN of a secret."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for arn in values(var.secret_files) : can(regex("^arn:[a-z-]+:secretsmanager:", arn))])
    error_message = "Give ARNs of secrets, never their values."
  }
  validation {
    condition     = length(var.secret_files) + length(var.secrets) > 0
    error_message = "Each program of the fleet has a secret: the registry's URL or its API key."
  }
}

variable "data_volume" {
  description = "Folder on EFS that outlives tasks and that all of them share."
  type        = object({ file_system_id = string, access_point_id = string, path = string })
  default     = null
}

variable "port" {
  description = "Port that the program listens on; null for one that listens on none."
  type        = number
  default     = null
}

variable "load_balancer" {
  description = "The way in; null for none."
  type = object({
    internal            = bool
    subnet_ids          = list(string)
    certificate_arn     = string
    allowed_cidrs       = list(string)
    deletion_protection = optional(bool, true)
  })
  default = null
  validation {
    condition     = var.load_balancer == null || try(var.load_balancer.internal == false || !contains(var.load_balancer.allowed_cidrs, "0.0.0.0/0"), false)
    error_message = "An internal load balancer is for named networks, not for 0.0.0.0/0."
  }
  validation {
    condition     = var.load_balancer == null || var.port != null
    error_message = "A load balancer needs the port of the program."
  }
}

variable "egress" {
  description = "Where tasks may connect to beside TLS on 443: a name for people to a block and a port."
  type        = map(object({ cidr = string, port = number }))
  default     = {}
  validation {
    condition     = alltrue([for rule in values(var.egress) : can(cidrhost(rule.cidr, 0)) && !endswith(rule.cidr, "/0")])
    error_message = "Give IPv4 blocks, none of them the whole internet."
  }
}

variable "task_policies" {
  description = "What the program may do: name to policy document as JSON."
  type        = map(string)
  default     = {}
}

variable "kms_key_arn" {
  description = "Key of the region: encrypts the log and the secrets that the task reads."
  type        = string
  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "Give the ARN of a KMS key."
  }
}

variable "cpu" {
  description = "CPU units of a task; 1024 are one virtual CPU."
  type        = number
  default     = 1024
  validation {
    condition     = contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.cpu)
    error_message = "Fargate has 256, 512, 1024, 2048, 4096, 8192 or 16384 units."
  }
}

variable "memory_mib" {
  description = "Memory of a task in MiB."
  type        = number
  default     = 2048
  validation {
    condition     = var.memory_mib >= 512
    error_message = "Give 512 MiB or more."
  }
}

variable "tasks" {
  description = "Tasks at least and at most."
  type        = object({ min = number, max = number })
  default     = { min = 2, max = 8 }
  validation {
    condition     = var.tasks.min >= 1 && var.tasks.min <= var.tasks.max
    error_message = "At least one, and not more at least than at most."
  }
}

variable "log_retention_days" {
  description = "Days that the log is kept."
  type        = number
  default     = 365
}

variable "allow_exec" {
  description = "Whether people may open a shell in a task (ECS Exec). Off, but for the first start and for emergencies."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags beside the provider's default tags."
  type        = map(string)
  default     = {}
}
