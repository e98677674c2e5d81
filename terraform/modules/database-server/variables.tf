variable "name" {
  description = "Identifier of the instance, e.g. `fleet-eu-1`."
  type        = string
  validation {
    condition     = can(regex("^fleet-[a-z0-9]+(-[a-z0-9]+)*$", var.name)) && length(var.name) <= 50
    error_message = "The name begins with fleet-, has small letters, digits and single dashes, and at most 50 of them."
  }
}

variable "component" {
  description = "Which part of the fleet it is, for the tag `fleet:component`."
  type        = string
  default     = "database"
  validation {
    condition     = contains(["database", "registry"], var.component)
    error_message = "A server is a database or the registry."
  }
}

variable "site" {
  description = "Where it stands: the outputs of the database-site module."
  type = object({
    db_subnet_group_name = string
    security_group_id    = string
    parameter_group_name = string
    engine_major         = number
  })
}

variable "kms_key_arn" {
  description = "Key of the region: encrypts storage, backups, logs and the master password."
  type        = string
  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "Give the ARN of a KMS key."
  }
}

variable "database" {
  description = "Name of the first database; null for `postgres` alone."
  type        = string
  default     = null
}

variable "tenant" {
  description = "The tenant that pays for it, where it has one alone; for the tag `fleet:tenant`."
  type        = string
  default     = null
}

variable "instance_class" {
  description = "Size of the instance."
  type        = string
  default     = "db.r7g.large"
  validation {
    condition     = startswith(var.instance_class, "db.")
    error_message = "An instance class begins with db., such as db.r7g.large."
  }
}

variable "storage_gib" {
  description = "Storage in GiB at first; it grows by itself to four times that."
  type        = number
  default     = 100
  validation {
    condition     = var.storage_gib >= 20 && var.storage_gib <= 16384
    error_message = "Give 20 to 16384 GiB."
  }
}

variable "standby" {
  description = "Whether a second instance in another zone takes over (Multi-AZ)."
  type        = bool
  default     = true
}

variable "deletion_protection" {
  description = "Whether the server refuses to be deleted."
  type        = bool
  default     = true
}

variable "backup_days" {
  description = "Days back to which the server can be restored."
  type        = number
  default     = 14
  validation {
    condition     = var.backup_days >= 1 && var.backup_days <= 35
    error_message = "RDS keeps backups for 1 to 35 days; 0 would switch restore off."
  }
}

variable "log_retention_days" {
  description = "Days that the server's logs are kept."
  type        = number
  default     = 365
}

variable "tags" {
  description = "Tags beside the provider's default tags."
  type        = map(string)
  default     = {}
}
