variable "name" {
  description = "Begins the names of alarms and is the dashboard's, e.g. `fleet-eu`."
  type        = string
  validation {
    condition     = can(regex("^fleet-[a-z][a-z0-9-]{0,40}$", var.name))
    error_message = "The name begins with fleet- and has small letters, digits and dashes."
  }
}

variable "cluster_name" {
  description = "ECS cluster of the services."
  type        = string
}

variable "services" {
  description = "Names of ECS services to watch."
  type        = list(string)
}

variable "load_balancers" {
  description = "Load balancers to watch: a name for people to the names that metrics have for it."
  type        = map(object({ suffix = string, target_group = string }))
}

variable "server_identifiers" {
  description = "RDS instances to watch. Servers that the control plane makes later are watched by the fleet itself."
  type        = list(string)
}

variable "kms_key_arn" {
  description = "Key of the region: encrypts what is published."
  type        = string
  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "Give the ARN of a KMS key."
  }
}

variable "tags" {
  description = "Tags beside the provider's default tags."
  type        = map(string)
  default     = {}
}
