variable "name" {
  description = "Name of the subnet group; begins the others, e.g. `fleet-eu`."
  type        = string
  validation {
    condition     = can(regex("^fleet-[a-z][a-z0-9-]{0,40}$", var.name))
    error_message = "The name begins with fleet- and has small letters, digits and dashes."
  }
}

variable "vpc_id" {
  description = "The network."
  type        = string
  validation {
    condition     = startswith(var.vpc_id, "vpc-")
    error_message = "Give the id of a VPC, vpc-…"
  }
}

variable "subnet_ids" {
  description = "Subnets for the servers, in two zones at least."
  type        = list(string)
  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "A server with a standby needs subnets in two zones."
  }
}

variable "client_security_groups" {
  description = "Who may connect: a name for people to the id of a security group."
  type        = map(string)
  default     = {}
}

variable "client_networks" {
  description = "Who else may connect: a name for people to an IPv4 block, for peers of other regions."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for block in values(var.client_networks) : can(cidrhost(block, 0)) && !endswith(block, "/0")])
    error_message = "Give IPv4 blocks, none of them the whole internet."
  }
}

variable "engine_major" {
  description = "Major version of PostgreSQL."
  type        = number
  default     = 18
  validation {
    condition     = var.engine_major >= 15 && var.engine_major <= 18
    error_message = "The fleet runs on PostgreSQL 15 to 18."
  }
}

variable "log_slower_than_ms" {
  description = "Statements that take longer than this many milliseconds are logged; -1 logs none."
  type        = number
  default     = 1000
  validation {
    condition     = var.log_slower_than_ms == -1 || var.log_slower_than_ms >= 100
    error_message = "Give 100 ms or more, or -1: below that, tenants' parameters fill the log."
  }
}

variable "tags" {
  description = "Tags beside the provider's default tags."
  type        = map(string)
  default     = {}
}
