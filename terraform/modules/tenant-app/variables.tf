variable "fleet_name" {
  description = "Name of the fleet (FLEET_NAME): begins the names of secrets and keys of its tenants, and is their tag `fleet:fleet`."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.fleet_name))
    error_message = "A fleet's name has 1 to 31 small letters, digits and dashes."
  }
}

variable "region" {
  description = "Name of the fleet's region that the app serves, e.g. `eu`."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,14}$", var.region))
    error_message = "A fleet's region has 1 to 15 small letters, digits and dashes."
  }
}

variable "control_plane_url" {
  description = "URL of the control plane, for the route feed."
  type        = string
  validation {
    condition     = startswith(var.control_plane_url, "https://")
    error_message = "The route feed carries credentials' names and the app's key: use https."
  }
}

variable "cluster" {
  description = "ECS cluster; `cluster` of the region module."
  type        = object({ arn = string, name = string })
}

variable "vpc_id" {
  description = "The region's network."
  type        = string
}

variable "public_subnet_ids" {
  description = "Subnets for the load balancer."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "Subnets for the tasks."
  type        = list(string)
}

variable "database_cidrs" {
  description = "Zone to addresses of the region's databases; the only ones that tasks may connect to."
  type        = map(string)
}

variable "image" {
  description = "Image of the tenant app, by digest."
  type        = string
}

variable "image_repository_arn" {
  description = "ECR repository that holds the image."
  type        = string
}

variable "certificate_arn" {
  description = "Certificate for the region's domain and its subdomains, in ACM of this region."
  type        = string
  validation {
    condition     = can(regex("^arn:[a-z-]+:acm:", var.certificate_arn))
    error_message = "Give the ARN of a certificate in ACM."
  }
}

variable "token_secret_arn" {
  description = "Secret with the app's API key; `app_token_secret_arn` of the region module."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the region."
  type        = string
}

variable "connections" {
  description = "Connections to databases, in all, of one task (FLEET_APP_CONNECTIONS)."
  type        = number
  default     = 240
  validation {
    condition     = var.connections >= 1
    error_message = "Give 1 or more."
  }
}

variable "environment" {
  description = "Further variables of the program. Nothing secret."
  type        = map(string)
  default     = {}
}

variable "cpu" {
  description = "CPU units of a task."
  type        = number
  default     = 1024
}

variable "memory_mib" {
  description = "Memory of a task in MiB."
  type        = number
  default     = 2048
}

variable "tasks" {
  description = "Tasks at least and at most."
  type        = object({ min = number, max = number })
  default     = { min = 2, max = 12 }
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
