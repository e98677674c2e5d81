variable "vpc_id" {
  description = "Network of the control plane."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets for the registry, in two zones at least."
  type        = list(string)
  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "The registry has a standby: give subnets in two zones."
  }
}

variable "client_security_groups" {
  description = "Who may connect: a name for people to the id of a security group. The control plane and nobody else."
  type        = map(string)
}

variable "kms_key_arn" {
  description = "Key of the control plane's region."
  type        = string
  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "Give the ARN of a KMS key."
  }
}

variable "instance_class" {
  description = "Size of the instance."
  type        = string
  default     = "db.r7g.large"
}

variable "storage_gib" {
  description = "Storage in GiB at first."
  type        = number
  default     = 50
  validation {
    condition     = var.storage_gib >= 20
    error_message = "Give 20 GiB or more."
  }
}

variable "deletion_protection" {
  description = "Whether the registry refuses to be deleted. Nothing but a trial sets it to false."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags beside the provider's default tags."
  type        = map(string)
  default     = {}
}
